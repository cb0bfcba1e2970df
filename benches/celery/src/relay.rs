//! How fast the outbox of a database is relayed into Redis.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use events_core::prelude::*;
use events_core::transport::Transport as _;
use events_core::{Events, Forwarding, Outbox, Queues};
use events_runtime::Relay;
use events_sqlx::{PostgresQueueOptions, SqliteQueueOptions};
use private_postgres::Database;
use redis::Cmd;
use tempfile::TempDir;

use crate::Failed;
use crate::consume::told;
use crate::measure::{Meter, Rounds, in_turns, per_second, rate};
use crate::publish::emptied;
use crate::report::Report;
use crate::world::{self, MonitorChecked, QUEUE, World};

const BULK: usize = 100_000;
const SINGLE: usize = 16_000; // a twentieth of it is shared by eight, too
const COMMIT: usize = 1_000;
const ROUNDS: usize = 3;

const OF_BULK: f64 = 0.5;

/// What was committed, and how fast it was relayed.
struct Relayed {
    committed: Rounds,
    sent: Rounds,
    costs: [RefCell<Rounds>; 2],
}

pub(crate) fn run(world: &World, report: &mut Report) -> Result<(), Failed> {
    let postgres = postgres_server()?;
    let count = world.some(BULK);
    let bulk = in_turns(world.rounds(ROUNDS), [&mut || sent(world, count)])?;
    let [bulk] = bulk;
    report.figure("bulk: the transport, 1,000 tasks at once", &per_second(bulk.median()));
    for (what, count, commit, lanes) in [("bulk", BULK, COMMIT, 1), ("single", SINGLE, 1, 8)] {
        let count = world.some(count);
        let mut files = Relayed::new();
        let mut durable = Relayed::new();
        for _ in 0..world.rounds(ROUNDS) {
            world.runtime.block_on(sqlite(world, count, commit, lanes, &mut files))?;
            let database = postgres.create_database();
            world.runtime.block_on(on_postgres(
                world,
                &database,
                count,
                commit,
                lanes,
                &mut durable,
            ))?;
        }
        for (database, measured) in [("SQLite", &files), ("PostgreSQL", &durable)] {
            let what = format!("{database}, {commit} in a commit ({what})");
            report.figure(&format!("{what}: committed"), &per_second(measured.committed.median()));
            let ratio = measured.sent.median() / bulk.median();
            report.target(
                &format!("{what}: relayed"),
                &format!("{}; {ratio:.2} of the bulk rate", told(&measured.sent, &measured.costs)),
                "at least 0.50",
                ratio >= OF_BULK,
            );
        }
    }
    Ok(())
}

impl Relayed {
    fn new() -> Self {
        Self {
            committed: Rounds::default(),
            sent: Rounds::default(),
            costs: <[RefCell<Rounds>; 2]>::default(),
        }
    }
}

fn postgres_server() -> Result<private_postgres::Server, Failed> {
    let settings = private_postgres::Settings { durable: true, ..Default::default() };
    Ok(private_postgres::Server::start(settings.set("shared_buffers", "1GB"))?)
}

fn sent(world: &World, count: usize) -> Result<f64, Failed> {
    let events = world::events()?;
    let database = world.server.database();
    world.runtime.block_on(async {
        let broker = world::broker(&database.url(), &events).await?;
        let mut tasks = world::tasks(&events, count).into_iter();
        let started = Instant::now();
        while tasks.len() > 0 {
            broker.transport().send(tasks.by_ref().take(COMMIT).collect()).await?;
        }
        let rate = rate(count, started);
        emptied(&database).await?;
        Ok(rate)
    })
}

async fn sqlite(
    world: &World,
    count: usize,
    commit: usize,
    lanes: usize,
    measured: &mut Relayed,
) -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let events = world::events()?;
    let options = SqliteQueueOptions::new().forward(Forwarding::outbox(Queues::only([QUEUE])));
    let queue = options.open(directory.path().join("app.db"), &events).await?;
    let started = Instant::now();
    let lanes = (0..lanes).map(|_| {
        let queue = queue.clone();
        let publish = async move || -> Result<(), Failed> {
            let mut session = queue.begin().await?;
            commit_into(&mut session, commit)?;
            Ok(session.commit().await?)
        };
        tokio::spawn(publish_all(publish, count / lanes / commit))
    });
    for lane in lanes.collect::<Vec<_>>() {
        lane.await??;
    }
    measured.committed.push(rate(count, started));
    relay(world, queue, &events, count, measured).await
}

async fn on_postgres(
    world: &World,
    database: &Database,
    count: usize,
    commit: usize,
    lanes: usize,
    measured: &mut Relayed,
) -> Result<(), Failed> {
    let events = world::events()?;
    let options = PostgresQueueOptions::new().forward(Forwarding::outbox(Queues::only([QUEUE])));
    let queue = options.connect(&database.url(), &events).await?;
    let started = Instant::now();
    let lanes = (0..lanes).map(|_| {
        let queue = queue.clone();
        let publish = async move || -> Result<(), Failed> {
            let mut session = queue.begin().await?;
            commit_into(&mut session, commit)?;
            Ok(session.commit().await?)
        };
        tokio::spawn(publish_all(publish, count / lanes / commit))
    });
    for lane in lanes.collect::<Vec<_>>() {
        lane.await??;
    }
    measured.committed.push(rate(count, started));
    relay(world, queue, &events, count, measured).await
}

#[publishes(MonitorChecked)]
fn commit_into(session: &mut impl Session, events: usize) -> Result<(), Failed> {
    for number in 0..events {
        publish_after_commit(session, MonitorChecked::new(number))?;
    }
    Ok(())
}

async fn publish_all(
    publish: impl AsyncFn() -> Result<(), Failed>,
    commits: usize,
) -> Result<(), Failed> {
    for _ in 0..commits {
        publish().await?;
    }
    Ok(())
}

/// Relays all that waits, from the start of the relay until the last message is there.
async fn relay(
    world: &World,
    outbox: impl Outbox,
    events: &Events,
    count: usize,
    measured: &mut Relayed,
) -> Result<(), Failed> {
    let database = world.server.database();
    let broker = world::broker(&database.url(), events).await?;
    let mut connection = world::bare(&database.url()).await?;
    let redis = world.redis_seconds();
    let meter = Meter::start();
    let relay = Relay::new(outbox, broker.transport().clone());
    let arrived = async {
        loop {
            let arrived: usize = Cmd::llen(QUEUE).query_async(&mut connection).await?;
            if arrived >= count {
                return Ok::<_, Failed>(meter.stop(count, &measured.costs[0]));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::pin!(arrived);
    let rate = tokio::select! {
        rate = &mut arrived => rate?,
        ended = relay.run_until(std::future::pending::<()>()) => {
            return Err(ended.map_or_else(Failed::from, |()| "the relay ended".into()));
        }
    };
    measured.sent.push(rate);
    crate::consume::note_redis(world, redis, count, &measured.costs[1]);
    emptied(&database).await
}
