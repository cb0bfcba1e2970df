//! How fast events become messages in Redis: one by one, and many at once.

use std::cell::RefCell;

use celery_fleet::Publishing;
use events_celery::CeleryBroker;
use events_core::prelude::*;
use events_core::transport::Transport as _;
use private_redis::Database;
use redis::Cmd;

use crate::floor::{self, Way};
use crate::measure::{Meter, Rounds, in_turns, per_second};
use crate::report::Report;
use crate::world::{self, MonitorChecked, PYTHONS_QUEUE, QUEUE, World};
use crate::{Failed, consume};

const SINGLE: usize = 40_000;
const BULK: usize = 200_000;

/// So many events are published in one commit, or handed to the transport at once.
const COMMIT: usize = 10_000;

const PYTHONS: usize = 2_000;
const ROUNDS: usize = 5;

const TIMES_CELERY: f64 = 20.0;
const OF_FLOOR: f64 = 0.7;

pub(crate) fn run(world: &World, report: &mut Report) -> Result<(), Failed> {
    single(world, report)?;
    bulk(world, report)
}

#[publishes(MonitorChecked)]
async fn publish(broker: &CeleryBroker, numbers: std::ops::Range<usize>) -> Result<(), Failed> {
    let mut session = broker.begin();
    for number in numbers {
        publish_after_commit(&mut session, MonitorChecked::new(number))?;
    }
    session.commit().await?;
    Ok(())
}

/// One commit for each event, from so many tasks of one program.
async fn publish_one_by_one(
    broker: &CeleryBroker,
    events: usize,
    senders: usize,
) -> Result<(), Failed> {
    let senders = (0..senders).map(|_| {
        let broker = broker.clone();
        tokio::spawn(async move {
            for number in 0..events / senders {
                publish(&broker, number..number + 1).await?;
            }
            Ok::<_, Failed>(())
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await??;
    }
    Ok(())
}

fn single(world: &World, report: &mut Report) -> Result<(), Failed> {
    let events = world::events()?;
    let count = world.some(SINGLE);
    let messages = messages(world, &world.server.database(), count)?;
    let cost = RefCell::default();
    let ours = |senders| {
        let database = world.server.database();
        world.runtime.block_on(async {
            let broker = world::broker(&database.url(), &events).await?;
            publish(&broker, 0..1).await?; // connects
            let meter = Meter::start();
            publish_one_by_one(&broker, count, senders).await?;
            let rate = meter.stop(count, &cost);
            emptied(&database).await?;
            Ok::<_, Failed>(rate)
        })
    };
    let bare = |senders| {
        let database = world.server.database();
        world.runtime.block_on(async {
            let connection = world::bare(&database.url()).await?;
            let meter = Meter::start();
            floor::push_one_by_one(&connection, QUEUE, &messages, senders).await?;
            let rate = meter.stop(count, &RefCell::default());
            emptied(&database).await?;
            Ok::<_, Failed>(rate)
        })
    };
    let celery = |how| {
        let database = world.server.database();
        let tasks = world.some(PYTHONS) as u64;
        let measured = World::celery(&database).measure_publishing(tasks, how, PYTHONS_QUEUE);
        world.runtime.block_on(emptied(&database))?;
        Ok(tasks as f64 / measured.seconds)
    };
    let [plain, held, batch, one, eight, many, bare_one, bare_eight, bare_many] = in_turns(
        world.rounds(ROUNDS),
        [
            &mut || celery(Publishing::Default),
            &mut || celery(Publishing::Producer),
            &mut || celery(Publishing::Batch),
            &mut || ours(1),
            &mut || ours(8),
            &mut || ours(32),
            &mut || bare(1),
            &mut || bare(8),
            &mut || bare(32),
        ],
    )?;
    report.figure("Celery: apply_async", &per_second(plain.median()));
    report.figure("Celery: apply_async, one producer held", &per_second(held.median()));
    report.figure("Celery: apply_async in a batch (5.7)", &per_second(batch.median()));
    for (senders, ours, bare) in
        [(1, &one, &bare_one), (8, &eight, &bare_eight), (32, &many, &bare_many)]
    {
        report.figure(
            &format!("bare LPUSH of prepared messages, {senders} at once"),
            &per_second(bare.median()),
        );
        let times = ours.over(&plain);
        report.target(
            &format!("session, publish, commit, {senders} at once"),
            &format!(
                "{}, {times} times apply_async, {} times with a producer held, {} of LPUSH",
                per_second(ours.median()),
                ours.over(&held),
                ours.over(bare)
            ),
            "at least 20 times apply_async",
            times.median() >= TIMES_CELERY,
        );
    }
    let cost = cost.borrow().median();
    report.figure("processor time of this program for each", &format!("{cost:.1} µs"));
    Ok(())
}

/// The messages of so many tasks, as they lie in Redis.
pub(crate) fn messages(
    world: &World,
    database: &Database,
    count: usize,
) -> Result<Vec<Vec<u8>>, Failed> {
    let events = world::events()?;
    world.runtime.block_on(async {
        let broker = world::broker(&database.url(), &events).await?;
        broker.transport().send(world::tasks(&events, count)).await?;
        let mut connection = world::bare(&database.url()).await?;
        let range = Cmd::lrange(QUEUE, 0, -1);
        let messages = range.query_async::<Vec<Vec<u8>>>(&mut connection).await?;
        emptied(database).await?;
        Ok(messages)
    })
}

/// Deletes what is there, so that the server does not grow.
pub(crate) async fn emptied(database: &Database) -> Result<(), Failed> {
    let mut connection = world::bare(&database.url()).await?;
    Ok(redis::cmd("FLUSHDB").exec_async(&mut connection).await?)
}

fn bulk(world: &World, report: &mut Report) -> Result<(), Failed> {
    let events = world::events()?;
    let count = world.some(BULK);
    let messages = messages(world, &world.server.database(), count)?;
    let bytes = messages.iter().map(Vec::len).sum::<usize>() / count;
    report.figure("one message", &format!("{bytes} bytes"));
    let costs: [[RefCell<Rounds>; 2]; 3] = Default::default();
    let bare = |way| {
        let database = world.server.database();
        let redis = world.redis_seconds();
        let rate = world.runtime.block_on(async {
            let connection = world::bare(&database.url()).await?;
            let meter = Meter::start();
            floor::push(&connection, QUEUE, &messages, way).await?;
            Ok::<_, Failed>(meter.stop(count, &costs[0][0]))
        })?;
        consume::note_redis(world, redis, count, &costs[0][1]);
        world.runtime.block_on(emptied(&database))?;
        Ok::<_, Failed>(rate)
    };
    let mut best = (0.0, Way::ALL[0]);
    for way in Way::ALL {
        let rate = bare(way)?;
        if rate > best.0 {
            best = (rate, way);
        }
    }
    let sent = |committed: bool, costs: &[RefCell<Rounds>; 2]| {
        let database = world.server.database();
        let redis = world.redis_seconds();
        let rate = world.runtime.block_on(async {
            let broker = world::broker(&database.url(), &events).await?;
            let tasks = match committed {
                true => Vec::new(),
                false => world::tasks(&events, count),
            };
            let meter = Meter::start();
            for first in (0..if committed { count } else { 0 }).step_by(COMMIT) {
                publish(&broker, first..count.min(first + COMMIT)).await?;
            }
            let mut tasks = tasks.into_iter();
            while tasks.len() > 0 {
                broker.transport().send(tasks.by_ref().take(COMMIT).collect()).await?;
            }
            Ok::<_, Failed>(meter.stop(count, &costs[0]))
        })?;
        consume::note_redis(world, redis, count, &costs[1]);
        world.runtime.block_on(emptied(&database))?;
        Ok::<_, Failed>(rate)
    };
    let [floor, transport, session] = in_turns(
        world.rounds(ROUNDS),
        [&mut || bare(best.1), &mut || sent(false, &costs[1]), &mut || sent(true, &costs[2])],
    )?;
    let Way { pipeline, at_once } = best.1;
    report.figure(
        &format!("floor: LPUSH of prepared messages, {pipeline} in a pipeline, {at_once} at once"),
        &consume::told(&floor, &costs[0]),
    );
    for (what, rounds, costs) in [
        ("transport, 10,000 tasks at once", &transport, &costs[1]),
        ("session, 10,000 events in a commit", &session, &costs[2]),
    ] {
        let ratio = rounds.over(&floor);
        report.target(
            what,
            &format!("{}, {ratio} of the floor", consume::told(rounds, costs)),
            "at least 0.70",
            ratio.median() >= OF_FLOOR,
        );
    }
    Ok(())
}
