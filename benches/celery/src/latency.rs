//! How long it takes from publishing to the start of the handler, when nothing else is to be done.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use events_celery::CeleryBroker;
use events_core::prelude::*;
use events_core::transport::Transport as _;
use events_core::{Events, Registry};
use redis::Value;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::Failed;
use crate::consume::celerys_worker;
use crate::measure::{Rounds, micros};
use crate::report::Report;
use crate::world::{self, PYTHONS_QUEUE, World};

const OFTEN: Duration = Duration::from_millis(10);
const SELDOM: Duration = Duration::from_millis(250);

/// Of the worker's p50.
const TARGET: Duration = Duration::from_millis(2);

/// The handler says when it was started.
#[derive(Event, Debug, Clone)]
struct Rang {
    number: u64,
}

#[subscribes_to(Rang, queue = "rust", freshness_only)]
async fn answer(event: Rang, started: State<mpsc::UnboundedSender<(u64, Instant)>>) {
    started.send((event.number, Instant::now())).ok();
}

#[publishes(Rang)]
async fn ring(broker: &CeleryBroker, number: u64) -> Result<(), Failed> {
    let mut session = broker.begin();
    publish_after_commit(&mut session, Rang { number })?;
    session.commit().await?;
    Ok(())
}

pub(crate) fn run(world: &World, report: &mut Report) -> Result<(), Failed> {
    for (what, gap, samples) in [("100 a second", OFTEN, 2_000), ("4 a second", SELDOM, 100)] {
        let samples = world.some(samples);
        let bare = world.runtime.block_on(bare(world, gap, samples))?;
        report.figure(&format!("{what}: LPUSH until BLMOVE returns (floor)"), &told(&bare));
        let apart = world.runtime.block_on(ours(world, gap, samples, true))?;
        let met = apart.median() <= micros(TARGET);
        let what_of = |of: &str| format!("{what}: {of}");
        report.target(
            &what_of("begin of the commit to handler start"),
            &told(&apart),
            "p50 at most 2 ms",
            met,
        );
        let same = world.runtime.block_on(ours(world, gap, samples, false))?;
        report.figure(&what_of("… one broker publishes and works"), &told(&same));
        let celery = celery(world, gap, samples)?;
        report.figure(&what_of("Celery, prefork, two processes"), &told(&celery));
    }
    Ok(())
}

fn told(rounds: &Rounds) -> String {
    let part = |part| rounds.quantile(part) / 1e3;
    format!("p50 {:.2} ms, p95 {:.2} ms, p99 {:.2} ms", part(0.5), part(0.95), part(0.99))
}

async fn bare(world: &World, gap: Duration, samples: usize) -> Result<Rounds, Failed> {
    let url = world.server.database().url();
    let mut waiting = world::bare(&url).await?;
    let mut pushing = world::bare(&url).await?;
    let (sender, mut returned) = mpsc::unbounded_channel();
    let waiter = tokio::spawn(async move {
        let mut wait = redis::cmd("BLMOVE");
        wait.arg("rust").arg("rust").arg("RIGHT").arg("RIGHT").arg(0);
        loop {
            let _: Value = wait.query_async(&mut waiting).await?;
            sender.send(Instant::now()).ok();
            redis::cmd("RPOP").arg("rust").exec_async(&mut waiting).await?;
        }
        #[expect(unreachable_code, reason = "it is aborted; the type of its errors")]
        Ok::<(), redis::RedisError>(())
    });
    let mut measured = Rounds::default();
    let mut ticks = interval(gap);
    for _ in 0..samples {
        ticks.tick().await;
        let pushed = Instant::now();
        redis::cmd("LPUSH").arg("rust").arg("{}").exec_async(&mut pushing).await?;
        let returned = returned.recv().await.ok_or("the connection that waits is gone")?;
        measured.push(micros(returned - pushed));
    }
    waiter.abort();
    Ok(measured)
}

/// With a broker for each side, as in two programs, or one for both.
async fn ours(world: &World, gap: Duration, samples: usize, apart: bool) -> Result<Rounds, Failed> {
    let registry = Registry::builder().subscriber::<answer>().build()?;
    let events = Events::builder().registry(registry).build()?;
    let url = world.server.database().url();
    let broker = CeleryBroker::connect(&url, &events).await?;
    let publisher = match apart {
        true => CeleryBroker::connect(&url, &events).await?,
        false => broker.clone(),
    };
    let (sender, started) = mpsc::unbounded_channel();
    let worker = world::worker(&events, &broker).state(sender).build()?;
    world::run_while(worker, ring_often(&publisher, gap, samples, started)).await?
}

async fn ring_often(
    broker: &CeleryBroker,
    gap: Duration,
    samples: usize,
    mut started: mpsc::UnboundedReceiver<(u64, Instant)>,
) -> Result<Rounds, Failed> {
    ring(broker, u64::MAX).await?; // connects
    started.recv().await.ok_or("the worker is gone")?;
    let mut measured = Rounds::default();
    let mut ticks = interval(gap);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0..samples as u64 {
        ticks.tick().await;
        let began = Instant::now();
        ring(broker, number).await?;
        let (answered, handler) = started.recv().await.ok_or("the worker is gone")?;
        assert_eq!(answered, number, "one event at a time");
        measured.push(micros(handler - began));
    }
    Ok(measured)
}

/// Its tasks write down when they run. By the clock of the machine, which both read.
fn celery(world: &World, gap: Duration, samples: usize) -> Result<Rounds, Failed> {
    let database = world.server.database();
    let fleet = World::celery(&database);
    let _worker = fleet.worker(&celerys_worker());
    let events: Events = world::events()?;
    let published = world.runtime.block_on(async {
        let broker = world::broker(&database.url(), &events).await?;
        let mut published = Vec::with_capacity(samples);
        let mut ticks = interval(gap);
        for number in 0..samples {
            ticks.tick().await;
            let task = world::task("fleet.record", PYTHONS_QUEUE, number);
            published.push(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64());
            broker.transport().send(vec![task]).await?;
        }
        Ok::<_, Failed>(published)
    })?;
    let mut measured = Rounds::default();
    for record in fleet.wait_for_records(samples) {
        let number = record.arguments()[0]["number"].as_u64().ok_or("it is numbered")?;
        measured.push((record.at - published[usize::try_from(number)?]) * 1e6);
    }
    Ok(measured)
}
