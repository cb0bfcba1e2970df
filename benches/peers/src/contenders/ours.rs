//! This project's queue.
//!
//! Settings: those it has by itself, with connections for the lanes.

use std::ops::Range;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use events_core::broker::{Settlement, WorkerInfo};
use events_core::lifecycle::Next;
use events_core::prelude::*;
use events_core::{Broker, Clock, Events, Queues, Registry, SystemClock, Timestamp, WorkerId};
use events_runtime::Worker;
use events_sqlx::{EventTransaction, PostgresQueue, PostgresQueueOptions};
use sqlx::Postgres;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::floor::{Floor, Shape, Statements};
use super::{Committing, Publish, Queue, Work};
use crate::Failed;
use crate::handled;
use crate::job::{self, INSERT_EFFECT};

/// Handlers at once.
const HANDLERS: usize = 16;
/// Connections beside those of the lanes: fetching, completing, heartbeats.
const OWN_CONNECTIONS: u32 = 6;

/// As [`job::Job`].
#[derive(Event, Debug, Clone)]
struct MonitorChecked {
    number: u64,
    monitor_config_key: String,
    operation_type: String,
}

impl MonitorChecked {
    fn new(number: u64) -> Self {
        let job::Job { number, monitor_config_key, operation_type } = job::Job::new(number);
        Self { number, monitor_config_key, operation_type }
    }
}

/// What is handled in a transaction.
#[derive(Event, Debug, Clone)]
struct MonitorFinished {
    number: u64,
}

/// What nobody in these benchmarks serves.
#[derive(Event, Debug, Clone)]
struct ReportWanted {
    number: u64,
}

#[subscribes_to(MonitorChecked, freshness_only)]
async fn ignore(event: MonitorChecked) {
    handled::note(event.number);
}

#[subscribes_to(ReportWanted, queue = "reports", freshness_only)]
async fn ignore_report(event: ReportWanted) {
    handled::note(event.number);
}

#[subscribes_to(MonitorFinished, freshness_only)]
async fn record(
    event: MonitorFinished,
    tx: &mut EventTransaction<Postgres>,
) -> Result<(), Failure> {
    handled::note(event.number);
    let number = i64::try_from(event.number)?;
    sqlx::query(INSERT_EFFECT).bind(number).execute(tx.connection()).await?;
    Ok(())
}

/// Publishes events of a kind in one transaction.
macro_rules! publish_all {
    ($name:ident, $event:ty, $make:expr) => {
        #[publishes($event)]
        async fn $name(queue: &PostgresQueue, numbers: Range<u64>) -> Result<(), Failed> {
            let mut session = queue.begin().await?;
            for number in numbers {
                publish_after_commit(&mut session, $make(number))?;
            }
            session.commit().await?;
            Ok(())
        }
    };
}

publish_all!(publish_checked, MonitorChecked, MonitorChecked::new);
publish_all!(publish_finished, MonitorFinished, |number| MonitorFinished { number });
publish_all!(publish_reports, ReportWanted, |number| ReportWanted { number });

fn events_by(clock: impl Clock) -> Result<Events, Failed> {
    let registry = Registry::builder()
        .subscriber::<ignore>()
        .subscriber::<ignore_report>()
        .subscriber::<record>()
        .build()?;
    Ok(Events::builder().registry(registry).clock(clock).build()?)
}

pub(super) struct Ours {
    events: Events,
    queue: PostgresQueue,
}

impl Ours {
    pub(super) async fn open(url: &str, lanes: u32) -> Result<Self, Failed> {
        Self::open_by(SystemClock, url, lanes).await
    }

    async fn open_by(clock: impl Clock, url: &str, lanes: u32) -> Result<Self, Failed> {
        let events = events_by(clock)?;
        let queue = PostgresQueueOptions::new()
            .max_connections(lanes + OWN_CONNECTIONS)
            .connect(url, &events)
            .await?;
        Ok(Self { events, queue })
    }
}

#[async_trait]
impl Queue for Ours {
    async fn publish(&self, _: usize, number: u64, _: Publish) -> Result<Committing, Failed> {
        publish_checked(&self.queue, number..number + 1).await?;
        Ok(Committing::now())
    }

    async fn publish_many(
        &self,
        _: usize,
        numbers: Range<u64>,
        handler: job::Handler,
    ) -> Result<(), Failed> {
        match handler {
            job::Handler::Ignore => publish_checked(&self.queue, numbers).await,
            job::Handler::Record => publish_finished(&self.queue, numbers).await,
        }
    }

    async fn work(&self, _: job::Handler) -> Result<Box<dyn Work>, Failed> {
        let worker =
            Worker::builder(&self.events, self.queue.clone()).concurrency(HANDLERS).build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(async move {
            let ended = worker.run_until(async {
                stopped.await.ok();
            });
            if let Err(error) = ended.await {
                eprintln!("the worker ended: {error}");
            }
        });
        Ok(Box::new(Running { stop, running }))
    }

    fn unfinished(&self) -> &'static str {
        UNFINISHED
    }
}

struct Running {
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

#[async_trait]
impl Work for Running {
    async fn stop(self: Box<Self>) -> Result<(), Failed> {
        drop(self.stop);
        Ok(self.running.await?)
    }
}

/// The floor's statements, on the queue's own table: all that a worker needs is returned.
const OWN: Statements = Statements {
    insert: "",
    insert_many: "",
    claim: "UPDATE events.tasks
        SET leased_by = '00000000-0000-7000-8000-000000000000', attempt = attempt + 1,
            fence = fence + 1
        WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM events.tasks
            WHERE leased_by IS NULL AND queue = 'events' AND priority = 0
                AND due_at <= (extract(epoch FROM now()) * 1000000)::bigint
            ORDER BY due_at, seq
            LIMIT $1
            FOR UPDATE SKIP LOCKED))
        RETURNING seq, payload, task_id, event_id, event, name, queue, priority, published_at,
            attempt, fence, headers, errors",
    delete_many: "DELETE FROM events.tasks
        WHERE leased_by = '00000000-0000-7000-8000-000000000000' AND seq = ANY ($1)",
    delete: "DELETE FROM events.tasks
        WHERE leased_by = '00000000-0000-7000-8000-000000000000' AND seq = $1",
    unfinished: UNFINISHED,
};

const UNFINISHED: &str = "SELECT EXISTS (SELECT FROM events.tasks)";

/// Bare statements on the table of the queue, filled by the queue.
pub(super) struct OwnTable {
    queue: Ours,
    floor: Floor,
}

/// Opens the floor on the queue's table.
pub(super) async fn own_table(url: &str, lanes: u32) -> Result<OwnTable, Failed> {
    let queue = Ours::open(url, lanes).await?;
    let floor = Floor::on(url, lanes, Shape::Prepared, OWN).await?;
    Ok(OwnTable { queue, floor })
}

#[async_trait]
impl Queue for OwnTable {
    async fn publish(&self, lane: usize, number: u64, how: Publish) -> Result<Committing, Failed> {
        self.queue.publish(lane, number, how).await
    }

    async fn publish_many(
        &self,
        lane: usize,
        numbers: Range<u64>,
        handler: job::Handler,
    ) -> Result<(), Failed> {
        self.queue.publish_many(lane, numbers, handler).await
    }

    async fn work(&self, handler: job::Handler) -> Result<Box<dyn Work>, Failed> {
        self.floor.work(handler).await
    }

    fn unfinished(&self) -> &'static str {
        UNFINISHED
    }
}

/// The machine's clock, a day ahead.
struct Tomorrow;

impl Clock for Tomorrow {
    fn now(&self) -> Timestamp {
        SystemClock.now() + Duration::from_hours(24)
    }
}

/// Claims by hand, timed.
pub(crate) struct Claims {
    queue: Ours,
    worker: WorkerId,
}

impl Claims {
    pub(crate) async fn open(url: &str) -> Result<Self, Failed> {
        let queue = Ours::open(url, 1).await?;
        let worker = WorkerId::generate();
        queue.queue.register(worker, &WorkerInfo::new(Queues::all(), 1)).await?;
        Ok(Self { queue, worker })
    }

    /// Publishes tasks that are due now.
    pub(crate) async fn publish(&self, tasks: u64) -> Result<(), Failed> {
        publish_checked(&self.queue.queue, 0..tasks).await
    }

    /// Publishes tasks to a queue that is not claimed from.
    pub(crate) async fn publish_elsewhere(&self, tasks: u64) -> Result<(), Failed> {
        publish_reports(&self.queue.queue, 0..tasks).await
    }

    /// Claims once, timed, and completes what was claimed.
    pub(crate) async fn claim(&self, limit: usize) -> Result<Duration, Failed> {
        self.claim_for(limit, &Next::Complete).await
    }

    /// Makes dead letters of tasks that are published for it.
    pub(crate) async fn bury(&self, tasks: u64) -> Result<(), Failed> {
        self.publish(tasks).await?;
        let next = Next::Bury { error: "it never worked".into() };
        self.claim_for(usize::try_from(tasks)?, &next).await?;
        Ok(())
    }

    async fn claim_for(&self, limit: usize, next: &Next) -> Result<Duration, Failed> {
        let queues = Queues::only(["events"]);
        let started = Instant::now();
        let claimed = self.queue.queue.claim(self.worker, &queues, limit).await?;
        let took = started.elapsed();
        if claimed.tasks.len() != limit {
            return Err(format!("{} of {limit} tasks were claimed", claimed.tasks.len()).into());
        }
        let settlements: Vec<_> = claimed
            .tasks
            .into_iter()
            .map(|lease| Settlement {
                receipt: lease.receipt,
                attempt: lease.attempt,
                next: next.clone(),
            })
            .collect();
        self.queue.queue.settle(self.worker, &settlements).await?;
        Ok(took)
    }
}

/// Publishes tasks that are due tomorrow.
pub(crate) async fn publish_for_tomorrow(url: &str, tasks: u64) -> Result<(), Failed> {
    let ahead = Ours::open_by(Tomorrow, url, 1).await?;
    for _ in 0..tasks / 1_000 {
        publish_checked(&ahead.queue, 0..1_000).await?;
    }
    Ok(())
}
