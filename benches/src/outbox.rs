//! How fast a relay drains an outbox into a transport that does nothing: what the way through the
//! database costs, for tasks that were committed in bulk and one by one.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use events_core::prelude::*;
use events_core::transport::{Transport, TransportError};
use events_core::{Forwarding, Outbox, Registry, Task};
use events_runtime::Relay;
use events_sqlx::{
    EventDatabase, EventTransaction, PostgresQueue, PostgresQueueOptions, SqliteQueue,
    SqliteQueueOptions,
};
use private_postgres::{Server, Settings};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::Failed;
use crate::measure::{Meter, Rounds, in_turns, per_second};
use crate::report::Report;
use crate::sqlite::MonitorChecked;

const BULK: usize = 200_000;
const BULK_COMMIT: usize = 1_000;
const SINGLE: usize = 10_000;
const ROUNDS: usize = 3;

/// Tasks per second from an outbox of bulk commits.
const TARGET: f64 = 150_000.0;

#[subscribes_to(MonitorChecked, queue = "elsewhere", freshness_only)]
fn elsewhere(_: MonitorChecked) {}

/// Takes everything at once.
#[derive(Clone, Default)]
struct Nowhere(Arc<AtomicU64>);

impl Transport for Nowhere {
    async fn send(&self, tasks: Vec<Task>) -> Result<(), TransportError> {
        self.0.fetch_add(tasks.len() as u64, Ordering::SeqCst);
        Ok(())
    }
}

fn events() -> Result<Events, Failed> {
    let registry = Registry::builder().subscriber::<elsewhere>().build()?;
    Ok(Events::builder().registry(registry).build()?)
}

fn forwarding() -> Forwarding {
    Forwarding::outbox(Queues::only(["elsewhere"]))
}

/// A queue that sessions are begun on.
trait Begin: Outbox {
    type Db: EventDatabase;
    async fn begun(&self) -> Result<EventTransaction<Self::Db>, Failed>;
}

impl Begin for SqliteQueue {
    type Db = events_sqlx::Sqlite;
    async fn begun(&self) -> Result<EventTransaction<Self::Db>, Failed> {
        Ok(self.begin().await?)
    }
}

impl Begin for PostgresQueue {
    type Db = events_sqlx::Postgres;
    async fn begun(&self) -> Result<EventTransaction<Self::Db>, Failed> {
        Ok(self.begin().await?)
    }
}

#[publishes(MonitorChecked)]
async fn publish(queue: &impl Begin, events: usize, commit: usize) -> Result<(), Failed> {
    for first in (0..events).step_by(commit) {
        let mut session = queue.begun().await?;
        for number in first..events.min(first + commit) {
            publish_after_commit(&mut session, MonitorChecked::new(number))?;
        }
        session.commit().await?;
    }
    Ok(())
}

/// Fills the outbox, and measures how it is drained until nothing waits in it.
async fn drain(
    queue: impl Begin,
    tasks: usize,
    commit: usize,
    cost: &RefCell<Rounds>,
) -> Result<f64, Failed> {
    publish(&queue, tasks, commit).await?;
    let transport = Nowhere::default();
    let (stop, stopped) = oneshot::channel::<()>();
    let meter = Meter::start();
    let relay = Relay::new(queue.clone(), transport.clone());
    let relay = tokio::spawn(relay.run_until(async {
        stopped.await.ok();
    }));
    while transport.0.load(Ordering::SeqCst) < tasks as u64 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    while queue.outbox_backlog("default").await?.tasks > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let rate = meter.stop(tasks, cost);
    drop(stop);
    relay.await??;
    Ok(rate)
}

async fn sqlite(tasks: usize, commit: usize, cost: &RefCell<Rounds>) -> Result<f64, Failed> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("outbox.db");
    let queue = SqliteQueueOptions::new().forward(forwarding()).open(path, &events()?).await?;
    drain(queue, tasks, commit, cost).await
}

async fn postgres(
    server: &Server,
    tasks: usize,
    commit: usize,
    cost: &RefCell<Rounds>,
) -> Result<f64, Failed> {
    let database = server.create_database();
    let options = PostgresQueueOptions::new().forward(forwarding());
    drain(options.connect(&database.url(), &events()?).await?, tasks, commit, cost).await
}

pub(crate) fn run(report: &mut Report) -> Result<(), Failed> {
    let runtime = Runtime::new()?;
    let server = Server::start(Settings { durable: true, ..Settings::default() })?;
    for (name, tasks, commit) in [("bulk", BULK, BULK_COMMIT), ("single", SINGLE, 1)] {
        let costs: [RefCell<Rounds>; 2] = Default::default();
        let [on_sqlite, on_postgres] = in_turns(
            ROUNDS,
            [&mut || runtime.block_on(sqlite(tasks, commit, &costs[0])), &mut || {
                runtime.block_on(postgres(&server, tasks, commit, &costs[1]))
            }],
        )?;
        for (database, rounds, cost) in
            [("SQLite", &on_sqlite, &costs[0]), ("PostgreSQL", &on_postgres, &costs[1])]
        {
            let what = format!("{database}, drained from {name} commits");
            let figure = format!(
                "{}, {:.1} µs of this process's processor each",
                per_second(rounds.median()),
                cost.borrow().median()
            );
            match commit {
                1 => report.figure(&what, &figure),
                _ => report.target(&what, &figure, "at least 150 k/s", rounds.median() >= TARGET),
            }
        }
    }
    Ok(())
}
