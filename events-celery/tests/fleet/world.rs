//! A program with one subscriber, and workers of it on a Redis of the test's own.

use std::sync::Arc;
use std::time::Duration;

use events_celery::{CeleryBroker, CeleryOptions};
use events_core::prelude::*;
use events_core::{EventSettings, Events};
use events_runtime::{Worker, WorkerError};
use private_redis::Server;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use crate::client::Client;

/// What is to be done.
#[derive(Event)]
pub(crate) struct Job {
    pub fails: bool,
}

/// Jobs go on when they are let.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Semaphore>);

impl Gate {
    pub(crate) fn open(&self, jobs: usize) {
        self.0.add_permits(jobs);
    }
}

#[subscribes_to(
    Job,
    name = "jobs.run",
    queue = "jobs",
    max_retries = 1,
    retry_backoff = "1ms",
    freshness_only
)]
async fn run(job: Job, State(gate): State<Gate>) -> Result<(), Failure> {
    gate.0.acquire().await?.forget();
    if job.fails { Err(Failure::retry("no luck")) } else { Ok(()) }
}

// The same program publishes for Python, and cannot run what it publishes there.
foreign_subscriber! { event = Job, task = "jobs.run_in_python", queue = "python", freshness_only }

pub(crate) struct World {
    pub(crate) url: String,
    pub(crate) events: Events,
    pub(crate) options: CeleryOptions,
    pub(crate) gate: Gate,
    pub(crate) client: Client,
}

pub(crate) struct Running {
    pub(crate) broker: CeleryBroker,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), WorkerError>>,
}

impl Running {
    pub(crate) async fn stop(self) {
        self.stop.send(()).ok();
        self.ended.await.unwrap().unwrap();
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        let database = tokio::task::spawn_blocking(|| Server::shared().database());
        Self::at(&database.await.unwrap().url()).await
    }

    /// On this Redis.
    pub(crate) async fn at(url: &str) -> Self {
        let settings = EventSettings { lease: Duration::from_secs(3), ..EventSettings::default() };
        let options = CeleryOptions::new().node_name("rust@host");
        Self {
            url: url.to_owned(),
            events: Events::builder().settings(settings).build().unwrap(),
            options,
            gate: Gate(Arc::new(Semaphore::new(0))),
            client: Client::connect(url).await,
        }
    }

    /// Changes how workers are in the fleet.
    pub(crate) fn with(mut self, change: impl FnOnce(CeleryOptions) -> CeleryOptions) -> Self {
        self.options = change(self.options);
        self
    }

    /// Starts a worker that runs one task and holds one more, and waits until it can be asked.
    pub(crate) async fn work(&mut self) -> Running {
        let broker = self.options.connect(&self.url, &self.events).await.unwrap();
        let running = self.work_on(broker);
        self.client.wait_for_listeners().await;
        running
    }

    pub(crate) fn work_on(&self, broker: CeleryBroker) -> Running {
        let worker = Worker::builder(&self.events, broker.clone())
            .state(self.gate.clone())
            .concurrency(1)
            .prefetch(1)
            .build()
            .unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let ended = tokio::spawn(worker.run_until(stopped));
        Running { broker, stop, ended }
    }
}
