//! What everything here is measured in: a Redis of this program's own, Celery, and a worker.

use std::future::Future;

use celery_fleet::{Fleet, Version};
use events_celery::CeleryBroker;
use events_core::prelude::*;
use events_core::{Clock as _, EventId, Events, Registry, SystemClock, Task, TaskId};
use events_runtime::{Worker, WorkerBuilder};
use private_redis::{Database, Server, Settings};
use redis::aio::MultiplexedConnection;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::Failed;

/// That of the tasks that are executed here.
pub(crate) const QUEUE: &str = "rust";

/// That of the tasks that Celery executes.
pub(crate) const PYTHONS_QUEUE: &str = "python";

/// A hundred bytes of JSON, as in the comparisons that others publish.
#[derive(Event, Debug, Clone)]
pub(crate) struct MonitorChecked {
    pub(crate) number: u64,
    pub(crate) monitor_config_key: String,
    pub(crate) operation_type: String,
}

impl MonitorChecked {
    pub(crate) fn new(number: usize) -> Self {
        Self {
            number: number as u64,
            monitor_config_key: "production-warehouse-monitor-0042".into(),
            operation_type: "classification".into(),
        }
    }
}

#[subscribes_to(MonitorChecked, queue = "rust", freshness_only)]
async fn ignore(_event: MonitorChecked) {}

/// The server, and how much is measured.
pub(crate) struct World {
    pub(crate) runtime: Runtime,
    pub(crate) server: Server,
    pub(crate) quick: bool,
}

impl World {
    pub(crate) fn start(quick: bool) -> Result<Self, Failed> {
        let server = Server::start(Settings::default())?;
        Ok(Self { runtime: Runtime::new()?, server, quick })
    }

    /// So many, or a twentieth of it if only a look is wanted.
    pub(crate) fn some(&self, many: usize) -> usize {
        if self.quick { many / 20 } else { many }
    }

    pub(crate) fn rounds(&self, many: usize) -> usize {
        if self.quick { 1 } else { many }
    }

    /// Celery as its users have it, on this database.
    pub(crate) fn celery(database: &Database) -> Fleet {
        Fleet::python(Version::Newest, &database.url())
    }

    /// Processor seconds that the server has had.
    pub(crate) fn redis_seconds(&self) -> f64 {
        let info = self.server.cli(&["info", "cpu"]).unwrap_or_default();
        let part = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|seconds| seconds.trim().parse::<f64>().ok()).unwrap_or(f64::NAN)
        };
        part("used_cpu_user:") + part("used_cpu_sys:")
    }
}

pub(crate) fn events() -> Result<Events, Failed> {
    let registry = Registry::builder().subscriber::<ignore>().build()?;
    Ok(Events::builder().registry(registry).build()?)
}

pub(crate) async fn broker(url: &str, events: &Events) -> Result<CeleryBroker, Failed> {
    Ok(CeleryBroker::connect(url, events).await?)
}

/// A connection of the bare client.
pub(crate) async fn bare(url: &str) -> Result<MultiplexedConnection, Failed> {
    // Whatever a batch takes: the client's own limit is half a second.
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    Ok(redis::Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await?)
}

/// A worker as most programs have it.
pub(crate) fn worker(events: &Events, broker: &CeleryBroker) -> WorkerBuilder<CeleryBroker> {
    Worker::builder(events, broker.clone()).concurrency(16)
}

/// Runs the worker until `done` resolves.
pub(crate) async fn run_while<T>(
    worker: Worker<CeleryBroker>,
    done: impl Future<Output = T>,
) -> Result<T, Failed> {
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(worker.run_until(async {
        stopped.await.ok();
    }));
    let answer = done.await;
    drop(stop);
    running.await??;
    Ok(answer)
}

/// The task of one event, for this subscriber on this queue.
pub(crate) fn task(name: &'static str, queue: &'static str, number: usize) -> Task {
    let now = SystemClock.now();
    let event = MonitorChecked::new(number);
    let (number, key, operation) = (event.number, event.monitor_config_key, event.operation_type);
    let payload = format!(
        r#"{{"number":{number},"monitor_config_key":"{key}","operation_type":"{operation}"}}"#
    );
    Task {
        id: TaskId::generate(),
        event_id: EventId::generate(),
        event: MonitorChecked::NAME.into(),
        name: name.into(),
        queue: queue.into(),
        priority: 0,
        payload: payload.into(),
        headers: events_core::task::Headers::new(),
        published_at: now,
        due_at: now,
        debounce: None,
    }
}

/// Tasks that are executed here.
pub(crate) fn tasks(events: &Events, count: usize) -> Vec<Task> {
    let mut subscribers = events.registry().local_subscribers();
    let name = subscribers.next().map_or("", |ignore| ignore.task);
    (0..count).map(|number| task(name, QUEUE, number)).collect()
}

/// Tasks that Celery executes.
pub(crate) fn tasks_for_python(name: &'static str, count: usize) -> Vec<Task> {
    (0..count).map(|number| task(name, PYTHONS_QUEUE, number)).collect()
}
