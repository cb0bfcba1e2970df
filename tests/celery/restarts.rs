//! Redis is killed and started again while programs publish and work, and what is told when it is away.
//!
//! Without Python: kombu takes a message off its list and writes down afterwards that it has it, and what
//! is between the two when Redis dies is lost.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use events_celery::CeleryTransport;
use events_core::{Forwarding, Queues};
use events_runtime::Relay;
use events_sqlx::SqliteQueueOptions;
use private_redis::{AppendOnlyFile, Server, Settings};

use super::alone::counter;
use super::world::{World, eventually, report};
use crate::logs::Logs;

/// How often Redis is killed.
const KILLS: u32 = 4;

/// A worker that is idle for longer after Redis is back does not go on by itself.
const RECOVERY: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_task_is_executed_though_redis_is_killed_again_and_again() {
    let settings = Settings { append_only_file: AppendOnlyFile::Always, ..Settings::default() };
    let server = Server::start(settings).unwrap();
    let world = World::on(&server);
    let _workers = [(); 2].map(|()| world.program("work", ""));
    let mut publisher = world.program("publish", "--to 3000 --batch 3 --pause 8 --takes 2");
    let mut recoveries = Vec::new();
    for kill in 1..=KILLS {
        let wanted = world.executions().len() + 300;
        eventually("executed", async || world.executions().len() >= wanted).await;
        server.kill().unwrap();
        // For a moment, and for long enough that everybody waits with growing pauses.
        tokio::time::sleep(Duration::from_millis(u64::from(kill - 1) * 900)).await;
        server.start_again().unwrap();
        let (since, before) = (Instant::now(), begun(&world));
        eventually("executed again", async || begun(&world) > before).await;
        recoveries.push(since.elapsed());
    }
    assert!(publisher.ends().await, "it publishes to the end");
    let acknowledged: BTreeSet<_> = world.acknowledged().into_iter().collect();
    let mut executed = BTreeSet::new();
    eventually("all executed", async || {
        executed = world.executions().iter().filter(|it| it.ended).map(|it| it.number).collect();
        acknowledged.is_subset(&executed)
    })
    .await;
    report(&format!(
        "{KILLS} kills of Redis: {} of 3000 tasks acknowledged, {} executed; the first task after {recoveries:.1?}",
        acknowledged.len(),
        executed.len()
    ));
    assert!(recoveries.iter().all(|recovery| *recovery < RECOVERY), "{recoveries:?}");
}

fn begun(world: &World) -> usize {
    world.executions().iter().filter(|execution| !execution.ended).count()
}

#[tokio::test]
async fn relay_says_why_redis_is_away() {
    let server = Server::start(Settings::default()).unwrap();
    server.stop().unwrap();
    let events = counter::events();
    let folder = tempfile::tempdir().unwrap();
    let queue = SqliteQueueOptions::new()
        .forward(Forwarding::outbox(Queues::only(["shop"])))
        .open(folder.path().join("test.db"), &events)
        .await
        .unwrap();
    let mut session = queue.begin().await.unwrap();
    counter::place(&mut session, 7, "");
    session.commit().await.unwrap();
    let transport = CeleryTransport::connect_lazy(&server.url(), &events).unwrap();
    let (logs, _guard) = Logs::capture();
    let told = eventually("told", async || logs.has("WARN", &["cannot be sent and wait"]));
    // On this thread, whose logs are captured.
    Relay::new(queue, transport).run_until(told).await.unwrap();
    let why = ["cannot be reached; does it run", "Connection refused"];
    assert!(logs.has("WARN", &why), "{logs}");
}
