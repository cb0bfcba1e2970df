//! Whether waiting tasks slow a claim down.

use std::path::Path;
use std::time::{Duration, Instant};

use events_core::broker::{Settlement, WorkerInfo};
use events_core::lifecycle::Next;
use events_core::{Broker, Clock, Events, Queues, SystemClock, Timestamp, WorkerId};
use events_sqlx::SqliteQueue;
use tokio::runtime::Runtime;

use crate::Failed;
use crate::measure::{Rounds, micros};
use crate::report::Report;

const MILLION: usize = 1_000_000;
const CLAIMS: usize = 300;
const LIMIT: usize = 100;
/// As many as are claimed, and some: what is waiting never runs out.
const FEW: usize = CLAIMS * LIMIT + LIMIT;
const TARGET: f64 = 1.10;

/// The machine's clock, a day ahead.
struct Tomorrow;

impl Clock for Tomorrow {
    fn now(&self) -> Timestamp {
        SystemClock.now() + Duration::from_hours(24)
    }
}

/// A file, its queue, and a worker that claims from it.
struct Backlog {
    what: &'static str,
    queue: SqliteQueue,
    worker: WorkerId,
    claims: Rounds,
}

pub(crate) fn run(report: &mut Report) -> Result<(), Failed> {
    let runtime = Runtime::new()?;
    let directory = tempfile::tempdir()?;
    let mut backlogs = runtime.block_on(backlogs(directory.path()))?;
    for claim in 0..CLAIMS {
        for turn in 0..backlogs.len() {
            let turn = (claim + turn) % backlogs.len();
            runtime.block_on(backlogs[turn].claim())?;
        }
    }
    let (few, others) = backlogs.split_first().ok_or("there are backlogs")?;
    let figure = |claims: &Rounds| format!("{:.0} µs", claims.median());
    report.figure(&format!("claim of {LIMIT}, {} (floor)", few.what), &figure(&few.claims));
    for other in others {
        // Medians over each other: the claims of one turn are too short to be compared singly.
        let ratio = other.claims.median() / few.claims.median();
        report.target(
            &format!("claim of {LIMIT}, {}", other.what),
            &format!("{}, {ratio:.3} of the floor", figure(&other.claims)),
            "at most 1.10",
            ratio <= TARGET,
        );
    }
    Ok(())
}

async fn backlogs(directory: &Path) -> Result<Vec<Backlog>, Failed> {
    let events = super::events()?;
    let tomorrow = super::events_by(Tomorrow)?;
    let few = Backlog::open(directory, "few waiting", &events).await?;
    let due = Backlog::open(directory, "a million due", &events).await?;
    super::publish_checked(&due.queue, MILLION).await?;
    let scheduled = Backlog::open(directory, "a million scheduled for tomorrow", &events).await?;
    let ahead = super::open(&directory.join(scheduled.file()), &tomorrow).await?;
    super::publish_checked(&ahead, MILLION).await?;
    let elsewhere = Backlog::open(directory, "a million in another queue", &events).await?;
    super::publish_reports(&elsewhere.queue, MILLION).await?;
    let backlogs = vec![few, due, scheduled, elsewhere];
    for backlog in &backlogs {
        super::publish_checked(&backlog.queue, FEW).await?;
    }
    Ok(backlogs)
}

impl Backlog {
    async fn open(directory: &Path, what: &'static str, events: &Events) -> Result<Self, Failed> {
        let path = directory.join(format!("{what}.db"));
        let queue = super::open(&path, events).await?;
        let worker = WorkerId::generate();
        queue.register(worker, &WorkerInfo::new(Queues::all(), 1)).await?;
        Ok(Self { what, queue, worker, claims: Rounds::default() })
    }

    fn file(&self) -> String {
        format!("{}.db", self.what)
    }

    /// Claims once, timed, and completes what was claimed.
    async fn claim(&mut self) -> Result<(), Failed> {
        let queues = Queues::only(["events"]);
        let started = Instant::now();
        let claimed = self.queue.claim(self.worker, &queues, LIMIT).await?;
        self.claims.push(micros(started.elapsed()));
        assert_eq!(claimed.tasks.len(), LIMIT, "{}: there are always more waiting", self.what);
        let settlements: Vec<_> = claimed
            .tasks
            .into_iter()
            .map(|lease| Settlement {
                receipt: lease.receipt,
                attempt: lease.attempt,
                next: Next::Complete,
            })
            .collect();
        self.queue.settle(self.worker, &settlements).await?;
        Ok(())
    }
}
