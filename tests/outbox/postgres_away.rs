//! A server that goes away in the midst of it.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use events_core::prelude::*;
use events_core::{Forwarding, Registry};
use events_runtime::Relay;
use events_sqlx::{PostgresQueue, PostgresQueueOptions};
use private_postgres::{Mode, Server, Settings};

use super::transport::Recorder;
use super::{Running, count_elsewhere, count_here, elsewhere, publish, until};

/// Commits numbers, each with a row of its own, until told to stop. An error tells nothing about
/// whether it was committed.
async fn publish_numbers(queue: PostgresQueue, stop: Arc<AtomicBool>) {
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        number += 1;
        let Ok(mut session) = queue.begin().await else { continue };
        let insert = sqlx::query("INSERT INTO effects VALUES ($1)").bind(i64::from(number));
        if insert.execute(session.connection()).await.is_ok() {
            publish(&mut session, 1, number);
            session.commit().await.ok();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_crashes_and_comes_back_loses_no_task_of_a_commit() {
    let started = || Server::start(Settings { durable: true, ..Settings::default() });
    let server = Arc::new(tokio::task::spawn_blocking(started).await.unwrap().unwrap());
    let database = server.create_database();
    let registry =
        Registry::builder().subscriber::<count_elsewhere>().subscriber::<count_here>().build();
    let events = Events::builder().registry(registry.unwrap()).build().unwrap();
    let queue = PostgresQueueOptions::new()
        .forward(Forwarding::outbox(elsewhere()))
        .acquire_timeout(Duration::from_secs(1))
        .connect(&database.url(), &events)
        .await
        .unwrap();
    sqlx::raw_sql("CREATE TABLE effects (number bigint)").execute(queue.pool()).await.unwrap();
    let transport = Recorder::new();
    let relay = Relay::new(queue.clone(), transport.clone()).lease(Duration::from_secs(2));
    let _relay = Running::of(relay);
    let stop = Arc::new(AtomicBool::new(false));
    let publisher = tokio::spawn(publish_numbers(queue.clone(), stop.clone()));
    for crash in [true, false] {
        let before = transport.sent().len();
        until("it goes on", async || transport.sent().len() > before + 20).await;
        let server = server.clone();
        let restart = move || {
            if crash { server.kill() } else { server.stop(Mode::Fast) }.unwrap();
            server.start_again().unwrap();
        };
        tokio::task::spawn_blocking(restart).await.unwrap();
    }
    let before = transport.sent().len();
    until("it goes on", async || transport.sent().len() > before + 20).await;
    stop.store(true, Ordering::SeqCst);
    publisher.await.unwrap();
    let rows = async || super::database::count(queue.pool(), "events.outbox").await;
    until("the outbox is empty", async || matches!(rows().await, Ok(0))).await;
    let committed: Vec<i64> = sqlx::query_scalar("SELECT number FROM effects ORDER BY number")
        .fetch_all(queue.pool())
        .await
        .unwrap();
    let mut seen = HashSet::new();
    let first = transport.numbers().into_iter().filter(|number| seen.insert(*number));
    let first: Vec<_> = first.map(|(_, number)| i64::from(number)).collect();
    assert_eq!(first, committed, "all of them, at first in order, and no other");
    let ids: BTreeSet<_> = transport.sent().iter().map(|task| task.id).collect();
    assert_eq!(ids.len(), committed.len(), "one task for each, however often it was sent");
}
