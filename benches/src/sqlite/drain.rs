//! How fast a worker empties a queue, beside the bare loop that claims a batch and deletes it.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::time::Duration;

use events_core::Events;
use events_sqlx::SqliteQueue;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::floor;
use crate::Failed;
use crate::measure::{Meter, Rounds, in_turns, per_second};
use crate::report::Report;

const TASKS: usize = 100_000;
const TRANSACTIONAL_TASKS: usize = 10_000;
const ROUNDS: usize = 5;
const TARGET: f64 = 0.5;

/// A new file for each measurement.
struct Files {
    directory: TempDir,
    made: Cell<usize>,
}

impl Files {
    fn new() -> Result<Self, Failed> {
        Ok(Self { directory: tempfile::tempdir()?, made: Cell::new(0) })
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
    let costs: [RefCell<Rounds>; 6] = Default::default();
    let [floor, own, adaptive, fixed] = in_turns(
        ROUNDS,
        [
            &mut || runtime.block_on(bare(&files, &costs[0])),
            &mut || runtime.block_on(bare_on_own_table(&files, &events, &costs[1])),
            &mut || runtime.block_on(worker(&files, &events, None, &costs[2])),
            &mut || runtime.block_on(worker(&files, &events, Some(floor::BATCH.into()), &costs[3])),
        ],
    )?;
    let of_floor = |rounds: &Rounds, cost: usize| against(rounds, &floor, &costs[cost], &costs[0]);
    report.figure("bare claim of 500 and delete (floor)", &alone(&floor, &costs[0]));
    report.figure("the same on the queue's table, all columns", &of_floor(&own, 1));
    for (what, rounds, cost) in
        [("worker, 16 handlers", &adaptive, 2), ("worker, 16 handlers, prefetch 500", &fixed, 3)]
    {
        let met = rounds.over(&floor).median() >= TARGET;
        report.target(what, &of_floor(rounds, cost), "at least 0.50", met);
        report.figure("  over the bare loop on the queue's table", &rounds.over(&own).to_string());
    }
    let [floor, ours] = in_turns(
        ROUNDS,
        [&mut || runtime.block_on(bare_transactions(&files, &costs[4])), &mut || {
            runtime.block_on(transactional_worker(&files, &events, &costs[5]))
        }],
    )?;
    report.figure("bare begin, delete, insert a row, commit (floor)", &alone(&floor, &costs[4]));
    report.figure(
        "worker, handlers take the transaction, insert a row",
        &against(&ours, &floor, &costs[5], &costs[4]),
    );
    Ok(())
}

fn alone(rounds: &Rounds, cost: &RefCell<Rounds>) -> String {
    format!("{}, {:.1} µs of processor each", per_second(rounds.median()), cost.borrow().median())
}

fn against(
    rounds: &Rounds,
    floor: &Rounds,
    cost: &RefCell<Rounds>,
    floor_cost: &RefCell<Rounds>,
) -> String {
    let more = cost.borrow().over(&floor_cost.borrow()).median();
    let ratio = rounds.over(floor);
    format!("{}, {more:.1} times the floor's; rate {ratio} of the floor", alone(rounds, cost))
}

async fn bare(files: &Files, cost: &RefCell<Rounds>) -> Result<f64, Failed> {
    let mut connection = floor::filled(&files.next(), TASKS).await?;
    let meter = Meter::start();
    assert_eq!(floor::drain(&mut connection).await?, TASKS);
    Ok(meter.stop(TASKS, cost))
}

async fn bare_on_own_table(
    files: &Files,
    events: &Events,
    cost: &RefCell<Rounds>,
) -> Result<f64, Failed> {
    let path = files.next();
    let queue = super::open(&path, events).await?;
    super::publish_checked(&queue, TASKS).await?;
    queue.pool().close().await;
    drop(queue);
    let mut connection = floor::connect(&path).await?;
    let meter = Meter::start();
    assert_eq!(floor::drain_own(&mut connection).await?, TASKS);
    Ok(meter.stop(TASKS, cost))
}

async fn worker(
    files: &Files,
    events: &Events,
    prefetch: Option<usize>,
    cost: &RefCell<Rounds>,
) -> Result<f64, Failed> {
    let queue = super::open(&files.next(), events).await?;
    super::publish_checked(&queue, TASKS).await?;
    drained_by_worker(&queue, events, prefetch, TASKS, cost).await
}

async fn drained_by_worker(
    queue: &SqliteQueue,
    events: &Events,
    prefetch: Option<usize>,
    tasks: usize,
    cost: &RefCell<Rounds>,
) -> Result<f64, Failed> {
    let mut builder = super::worker(queue, events);
    if let Some(prefetch) = prefetch {
        builder = builder.prefetch(prefetch);
    }
    let worker = builder.build()?;
    let statistics = worker.statistics();
    let meter = Meter::start();
    super::run_while(worker, async {
        while statistics.completed() < tasks as u64 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        meter.stop(tasks, cost)
    })
    .await
}

async fn bare_transactions(files: &Files, cost: &RefCell<Rounds>) -> Result<f64, Failed> {
    let mut connection = floor::filled(&files.next(), TRANSACTIONAL_TASKS).await?;
    let meter = Meter::start();
    floor::handle_each(&mut connection, TRANSACTIONAL_TASKS).await?;
    Ok(meter.stop(TRANSACTIONAL_TASKS, cost))
}

async fn transactional_worker(
    files: &Files,
    events: &Events,
    cost: &RefCell<Rounds>,
) -> Result<f64, Failed> {
    let queue = super::open(&files.next(), events).await?;
    super::publish_finished(&queue, TRANSACTIONAL_TASKS).await?;
    drained_by_worker(&queue, events, None, TRANSACTIONAL_TASKS, cost).await
}
