//! The durable queue in an SQLite file, beside what bare statements do in the same minute.
//!
//! Both use sqlx, WAL, `synchronous = NORMAL`, foreign keys on, and every other setting as SQLite
//! has it. Files lie in the system's directory for temporary files.

pub(crate) mod backlog;
pub(crate) mod drain;
mod floor;
pub(crate) mod latency;
pub(crate) mod publish;

use std::future::Future;
use std::path::Path;

use events_core::prelude::*;
use events_core::{Events, Registry};
use events_runtime::{Worker, WorkerBuilder};
use events_sqlx::{EventTransaction, QueueError, Sqlite, SqliteQueue};
use tokio::sync::oneshot;

use crate::Failed;

/// How many events are published in one transaction where bulk is meant.
pub(crate) const BULK: usize = 1_000;

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

/// What nobody in these benchmarks serves.
#[derive(Event, Debug, Clone)]
struct ReportWanted {
    number: u64,
}

/// What is handled in a transaction.
#[derive(Event, Debug, Clone)]
pub(crate) struct MonitorFinished {
    number: u64,
}

#[subscribes_to(MonitorChecked, freshness_only)]
async fn ignore(_event: MonitorChecked) {}

#[subscribes_to(ReportWanted, queue = "reports", freshness_only)]
async fn ignore_report(_event: ReportWanted) {}

#[subscribes_to(MonitorFinished, freshness_only)]
async fn record(event: MonitorFinished, tx: &mut EventTransaction<Sqlite>) -> Result<(), Failure> {
    floor::insert_effect(tx.connection(), event.number).await?;
    Ok(())
}

/// Publishes `count` events of a kind, in transactions of [`BULK`].
macro_rules! publish_many {
    ($name:ident, $event:ty, $make:expr) => {
        #[publishes($event)]
        pub(crate) async fn $name(queue: &SqliteQueue, count: usize) -> Result<(), Failed> {
            for first in (0..count).step_by(BULK) {
                let mut session = queue.begin().await?;
                for number in first..count.min(first + BULK) {
                    publish_after_commit(&mut session, $make(number))?;
                }
                session.commit().await?;
            }
            Ok(())
        }
    };
}

publish_many!(publish_checked, MonitorChecked, MonitorChecked::new);
publish_many!(publish_finished, MonitorFinished, |number| MonitorFinished {
    number: number as u64
});
publish_many!(publish_reports, ReportWanted, |number| ReportWanted { number: number as u64 });

/// The events of these benchmarks, by this clock.
pub(crate) fn events_by(clock: impl events_core::Clock) -> Result<Events, Failed> {
    let registry = Registry::builder()
        .subscriber::<ignore>()
        .subscriber::<ignore_report>()
        .subscriber::<record>()
        .build()?;
    Ok(Events::builder().registry(registry).clock(clock).build()?)
}

pub(crate) fn events() -> Result<Events, Failed> {
    events_by(events_core::SystemClock)
}

pub(crate) async fn open(path: &Path, events: &Events) -> Result<SqliteQueue, QueueError> {
    let queue = SqliteQueue::open(path, events).await?;
    sqlx::query(floor::EFFECTS).execute(queue.pool()).await.map(|_| queue).map_err(|source| {
        QueueError::Open { path: path.display().to_string(), remedy: "see the cause", source }
    })
}

/// A worker as most programs have it.
pub(crate) fn worker(queue: &SqliteQueue, events: &Events) -> WorkerBuilder<SqliteQueue> {
    Worker::builder(events, queue.clone()).concurrency(16)
}

/// Runs the worker until `done` resolves.
pub(crate) async fn run_while<T>(
    worker: Worker<SqliteQueue>,
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
