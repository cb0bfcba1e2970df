//! How fast workers empty a queue of tasks that do nothing.

use std::cell::RefCell;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use celery_fleet::WorkerSettings;
use events_core::transport::Transport as _;
use private_redis::Database;
use redis::Cmd;

use crate::Failed;
use crate::floor::{Scripts, Way, push};
use crate::measure::{Meter, Rounds, in_turns, per_second};
use crate::publish::{emptied, messages};
use crate::report::Report;
use crate::world::{self, PYTHONS_QUEUE, QUEUE, World};

const TASKS: usize = 100_000;
const PYTHONS: usize = 2_000;
const ROUNDS: usize = 5;

/// What the floors claim at once, as this project's workers do when there is much.
const BATCH: usize = 1_000;

const TIMES_CELERY: f64 = 20.0;
const OF_FLOOR: f64 = 0.5;

/// Processor microseconds of one thing: in this program, and in Redis.
pub(crate) type Costs = [RefCell<Rounds>; 2];

pub(crate) fn run(world: &World, report: &mut Report) -> Result<(), Failed> {
    let events = world::events()?;
    let count = world.some(TASKS);
    let messages = messages(world, &world.server.database(), count)?;
    let costs: [Costs; 3] = Default::default();
    let bare = |scripts: &Scripts, costs: &Costs| {
        let database = filled(world, &messages)?;
        let redis = world.redis_seconds();
        let rate = world.runtime.block_on(async {
            let mut connection = world::bare(&database.url()).await?;
            let meter = Meter::start();
            scripts.drain(&mut connection, count, BATCH).await?;
            Ok::<_, Failed>(meter.stop(count, &costs[0]))
        })?;
        note_redis(world, redis, count, &costs[1]);
        world.runtime.block_on(emptied(&database))?;
        Ok(rate)
    };
    let worker = || {
        let database = filled(world, &messages)?;
        let redis = world.redis_seconds();
        let rate = world.runtime.block_on(async {
            let broker = world::broker(&database.url(), &events).await?;
            let worker = world::worker(&events, &broker).build()?;
            let statistics = worker.statistics();
            let meter = Meter::start();
            world::run_while(worker, async {
                while statistics.completed() < count as u64 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                meter.stop(count, &costs[2][0])
            })
            .await
        })?;
        note_redis(world, redis, count, &costs[2][1]);
        world.runtime.block_on(emptied(&database))?;
        Ok(rate)
    };
    let (own, minimal) = (Scripts::own(), Scripts::minimal());
    let [least, floor, ours, celery, apalis] = in_turns(
        world.rounds(ROUNDS),
        [
            &mut || bare(&minimal, &costs[0]),
            &mut || bare(&own, &costs[1]),
            &mut || worker(),
            &mut || celery(world),
            &mut || apalis(world, count),
        ],
    )?;
    report.figure("least: RPOP, HSET, ZADD; HDEL, ZREM", &told(&least, &costs[0]));
    report.figure("floor: the scripts for claims and ends", &told(&floor, &costs[1]));
    report.figure("… of the least", &floor.over(&least).to_string());
    report.figure("worker, 16 handlers", &told(&ours, &costs[2]));
    let ratio = ours.over(&floor);
    let met = ratio.median() >= OF_FLOOR;
    report.target("… of the floor", &ratio.to_string(), "at least 0.50", met);
    report.figure("… of the least", &ours.over(&least).to_string());
    report.figure("Celery, prefork, two processes", &per_second(celery.median()));
    let ratio = ours.over(&celery);
    let met = ratio.median() >= TIMES_CELERY;
    report.target("… worker over it", &ratio.to_string(), "at least 20", met);
    if !world.quick {
        report.figure("apalis-redis, a thousand at once", &per_second(apalis.median()));
        let ratio = ours.over(&apalis);
        report.target("… worker over it", &ratio.to_string(), "above 1", ratio.median() > 1.0);
    }
    Ok(())
}

pub(crate) fn told(rounds: &Rounds, costs: &Costs) -> String {
    let [here, redis] = costs;
    format!(
        "{}; processor: {:.2} µs here, {:.2} µs in Redis",
        per_second(rounds.median()),
        here.borrow().median(),
        redis.borrow().median()
    )
}

/// Takes what each thing has cost Redis since it had had so many seconds.
pub(crate) fn note_redis(world: &World, since: f64, things: usize, cost: &RefCell<Rounds>) {
    cost.borrow_mut().push((world.redis_seconds() - since) * 1e6 / things as f64);
}

/// A database with these messages in the queue.
fn filled(world: &World, messages: &[Vec<u8>]) -> Result<Database, Failed> {
    let database = world.server.database();
    world.runtime.block_on(async {
        let connection = world::bare(&database.url()).await?;
        push(&connection, QUEUE, messages, Way { pipeline: 1_000, at_once: 1 }).await
    })?;
    Ok(database)
}

/// A worker with Celery's defaults, but for the line that it logs of every task.
pub(crate) fn celerys_worker() -> WorkerSettings {
    WorkerSettings { log_level: "WARNING".to_owned(), ..WorkerSettings::of(PYTHONS_QUEUE) }
}

fn celery(world: &World) -> Result<f64, Failed> {
    let database = world.server.database();
    let count = world.some(PYTHONS);
    let fleet = World::celery(&database);
    let _worker = fleet.worker(&celerys_worker());
    world.runtime.block_on(async {
        let broker = world::broker(&database.url(), &world::events()?).await?;
        let tasks = world::tasks_for_python("fleet.nothing", count);
        let meter = Meter::start();
        broker.transport().send(tasks).await?;
        python_is_done(&database).await?;
        Ok(meter.stop(count, &RefCell::default()))
    })
}

/// Resolves when the queue is empty and nothing is held. Celery says so of a task before it runs it:
/// the last few are not waited for.
pub(crate) async fn python_is_done(database: &Database) -> Result<(), Failed> {
    let mut connection = world::bare(&database.url()).await?;
    loop {
        let waiting: usize = Cmd::llen(PYTHONS_QUEUE).query_async(&mut connection).await?;
        let held: usize = Cmd::hlen("unacked").query_async(&mut connection).await?;
        if waiting + held == 0 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// It is a program of a workspace of its own, compiled by the first call.
fn apalis(world: &World, count: usize) -> Result<f64, Failed> {
    if world.quick {
        return Ok(f64::NAN);
    }
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("apalis/Cargo.toml");
    let database = world.server.database();
    let output = Command::new("cargo")
        .args(["run", "--release", "--quiet", "--manifest-path"])
        .arg(manifest)
        .args(["--", &database.url(), &count.to_string(), &BATCH.to_string()])
        .output()?;
    world.runtime.block_on(emptied(&database))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let error = || String::from_utf8_lossy(&output.stderr).into_owned();
    said.trim().parse().map_err(|_| error().into())
}
