//! How fast a worker empties a queue, beside the bare loop that claims a batch and deletes it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use events_core::Events;
use events_sqlx::SqliteQueue;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::floor;
use crate::Failed;
use crate::measure::{Rounds, in_turns, per_second, rate};
use crate::report::Report;

const TASKS: usize = 100_000;
const TRANSACTIONAL_TASKS: usize = 10_000;
const ROUNDS: usize = 5;
const TARGET: f64 = 0.5;

/// A new file for each measurement.
struct Files {
    directory: TempDir,
    made: std::cell::Cell<usize>,
}

impl Files {
    fn new() -> Result<Self, Failed> {
        Ok(Self { directory: tempfile::tempdir()?, made: std::cell::Cell::new(0) })
    }

    fn next(&self) -> PathBuf {
        self.made.set(self.made.get() + 1);
        self.directory.path().join(format!("{}.db", self.made.get()))
    }
}

pub(crate) fn run(report: &mut Report) -> Result<(), Failed> {
    let runtime = Runtime::new()?;
    let events = super::events()?;
    let files = Files::new()?;
    let [floor, own, adaptive, fixed] = in_turns(
        ROUNDS,
        [
            &mut || runtime.block_on(bare(&files)),
            &mut || runtime.block_on(bare_on_own_table(&files, &events)),
            &mut || runtime.block_on(worker(&files, &events, None)),
            &mut || runtime.block_on(worker(&files, &events, Some(floor::BATCH))),
        ],
    )?;
    report.figure("bare claim of 500 and delete (floor)", &per_second(floor.median()));
    report.figure(
        "the same on the queue's own table, all columns",
        &format!("{}, {} of the floor", per_second(own.median()), own.over(&floor)),
    );
    for (what, rounds) in
        [("worker, 16 handlers", &adaptive), ("worker, 16 handlers, prefetch 500", &fixed)]
    {
        target(report, what, rounds, &floor);
        report.figure("  of the bare loop on the queue's table", &rounds.over(&own).to_string());
    }
    let [floor, ours] = in_turns(
        ROUNDS,
        [
            &mut || runtime.block_on(bare_transactions(&files)),
            &mut || runtime.block_on(transactional_worker(&files, &events)),
        ],
    )?;
    report.figure("bare begin, delete, insert one row, commit (floor)", &per_second(floor.median()));
    report.figure(
        "worker, handlers take the transaction, insert one row",
        &format!("{}, {} of the floor", per_second(ours.median()), ours.over(&floor)),
    );
    Ok(())
}

fn target(report: &mut Report, what: &str, ours: &Rounds, floor: &Rounds) {
    let ratio = ours.over(floor);
    let figure = format!("{}, {ratio} of the floor", per_second(ours.median()));
    report.target(what, &figure, "at least 0.50", ratio.median() >= TARGET);
}

async fn bare(files: &Files) -> Result<f64, Failed> {
    let mut connection = floor::filled(&files.next(), TASKS).await?;
    let started = Instant::now();
    assert_eq!(floor::drain(&mut connection).await?, TASKS);
    Ok(rate(TASKS, started))
}

async fn bare_on_own_table(files: &Files, events: &Events) -> Result<f64, Failed> {
    let path = files.next();
    let queue = super::open(&path, events).await?;
    super::publish_checked(&queue, TASKS).await?;
    queue.pool().close().await;
    drop(queue);
    let mut connection = floor::connect(&path).await?;
    let started = Instant::now();
    assert_eq!(floor::drain_own(&mut connection).await?, TASKS);
    Ok(rate(TASKS, started))
}

async fn worker(files: &Files, events: &Events, prefetch: Option<usize>) -> Result<f64, Failed> {
    let queue = super::open(&files.next(), events).await?;
    super::publish_checked(&queue, TASKS).await?;
    drained_by_worker(&queue, events, prefetch, TASKS).await
}

async fn drained_by_worker(
    queue: &SqliteQueue,
    events: &Events,
    prefetch: Option<usize>,
    tasks: usize,
) -> Result<f64, Failed> {
    let mut builder = super::worker(queue, events);
    if let Some(prefetch) = prefetch {
        builder = builder.prefetch(prefetch);
    }
    let worker = builder.build()?;
    let statistics = worker.statistics();
    let started = Instant::now();
    super::run_while(worker, async {
        while statistics.completed() < tasks as u64 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        rate(tasks, started)
    })
    .await
}

async fn bare_transactions(files: &Files) -> Result<f64, Failed> {
    let mut connection = floor::filled(&files.next(), TRANSACTIONAL_TASKS).await?;
    let started = Instant::now();
    floor::handle_each(&mut connection, TRANSACTIONAL_TASKS).await?;
    Ok(rate(TRANSACTIONAL_TASKS, started))
}

async fn transactional_worker(files: &Files, events: &Events) -> Result<f64, Failed> {
    let queue = super::open(&files.next(), events).await?;
    super::publish_finished(&queue, TRANSACTIONAL_TASKS).await?;
    drained_by_worker(&queue, events, None, TRANSACTIONAL_TASKS).await
}
