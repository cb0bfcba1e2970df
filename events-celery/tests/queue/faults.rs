//! Keys that hold something else, and a Redis that has forgotten the scripts.

use std::time::Duration;

use events_core::broker::Admin;
use events_core::cadence::{ReconcilerRuns, RunResult, RunStart};
use events_core::lifecycle::Next;
use events_core::task::Headers;
use events_core::transport::Transport;
use events_core::{EventId, Task, TaskId, Timestamp};
use private_redis::{Server, Settings};

use crate::world::Fleet;

#[tokio::test]
async fn reconciler_of_which_nothing_readable_is_remembered_begins_anew() {
    let fleet = Fleet::start().await;
    let not_utf8 = b"\xff".as_slice();
    let not_ours = br#"{"started_at":"17"}"#.as_slice();
    let texts = ["", "7", "null", "not JSON"].map(str::as_bytes);
    for garbage in texts.into_iter().chain([not_utf8, not_ours, br#"{"next_at":7}"#]) {
        let set: i64 = fleet.ask("HSET", "events:reconcilers", &[b"sweep", garbage]).await;
        assert!(set <= 1);
        fleet.broker.reconcilers().await.unwrap();
        let garbage = String::from_utf8_lossy(garbage);
        let (started_at, next_at) = (Timestamp::from_micros(1), Timestamp::from_micros(2));
        let start =
            RunStart { name: "sweep", after: None, started_at, started_by: fleet.worker, next_at };
        assert!(fleet.broker.begin_run(&start).await.unwrap(), "{garbage}");
        let ended = RunResult { checked: 1, changed: 0, failed: 0, error: None };
        fleet.broker.end_run("sweep", started_at, next_at, &ended).await.unwrap();
        let states = fleet.broker.reconcilers().await.unwrap();
        assert_eq!((states[0].ended_at, states.len()), (Some(next_at), 1), "{garbage}");
    }
}

fn retry(after: Duration) -> Next {
    Next::Retry { after, error: "it broke".into() }
}

#[tokio::test]
async fn claim_takes_nothing_that_it_cannot_store() {
    let fleet = Fleet::start().await;
    let broken = b"not JSON".as_slice();
    fleet
        .push(&[
            fleet.order(1).to_string().as_bytes(),
            broken,
            fleet.order(2).to_string().as_bytes(),
        ])
        .await;
    for key in [
        "unacked",
        "unacked_index",
        "events:dead",
        "events:dead_index",
        "events:scheduled",
        "events:quiet",
    ] {
        fleet.tell(&["SET", &fleet.key(key), "something else"]).await;
        let error = fleet.claim(10).await.unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("shared with another program"), "{key}: {cause}");
        fleet.tell(&["DEL", &fleet.key(key)]).await;
        assert_eq!(fleet.places().await, (3, 0, 0), "{key}");
    }
    assert_eq!(fleet.take().await, [1, 2]);
    assert_eq!(fleet.dead_letters().await.len(), 1);
}

#[tokio::test]
async fn list_that_is_none_keeps_no_other_queue_from_being_served() {
    let fleet = Fleet::start().await;
    fleet.tell(&["SET", &fleet.key("mail"), "something else"]).await;
    let order = fleet.order(1).to_string();
    let _: i64 = fleet.ask("LPUSH", "mail\u{6}\u{16}3", &[order.as_bytes()]).await;
    assert_eq!(fleet.take().await, [1]);
}

/// A relay then sends what is for other lists.
#[tokio::test]
async fn task_whose_list_is_none_is_refused_by_itself() {
    let fleet = Fleet::start().await;
    fleet.tell(&["SET", &fleet.key("mail"), "something else"]).await;
    let transport = fleet.broker.transport();
    let mut tasks = [task("mail"), task("other")].to_vec();
    let error = transport.send(tasks.clone()).await.unwrap_err();
    assert_eq!(error.unsent().len(), 1);
    let unsent = &error.unsent()[0];
    assert!(unsent.retryable && !unsent.is_unavailable(), "{unsent:?}");
    assert_eq!(unsent.task.id, tasks.swap_remove(0).id);
}

/// As a master that was demoted: what follows must not be sent to the next one before what was refused.
#[tokio::test]
async fn what_follows_is_not_tried_when_the_server_takes_nothing() {
    let server = Server::start(Settings::default()).unwrap();
    let fleet = Fleet::with(&server.database(), |options| options).await;
    fleet.tell(&["REPLICAOF", "127.0.0.1", "1"]).await;
    fleet.tell(&["CONFIG", "RESETSTAT"]).await;
    // Two of these, for two lists, are a batch.
    let large = |queue| {
        let payload = format!(r#"{{"text":"{}"}}"#, "x".repeat(60_000)).into();
        Task { payload, ..task(queue) }
    };
    let tasks: Vec<_> = (0..3).flat_map(|_| [large("mail"), large("other")]).collect();
    let error = fleet.broker.transport().send(tasks.clone()).await.unwrap_err();
    let unsent: Vec<_> = error.unsent().iter().map(|unsent| unsent.task.id).collect();
    assert_eq!(unsent, tasks.iter().map(|task| task.id).collect::<Vec<_>>());
    assert!(error.unsent().iter().all(|unsent| unsent.retryable && unsent.is_unavailable()));
    let statistics = server.cli(&["INFO", "commandstats"]).unwrap();
    let pushes = statistics.lines().find(|line| line.starts_with("cmdstat_lpush:")).unwrap();
    assert!(pushes.contains("rejected_calls=2,"), "{pushes}");
}

fn task(queue: &'static str) -> Task {
    Task {
        id: TaskId::generate(),
        event_id: EventId::generate(),
        event: "event".into(),
        name: "name".into(),
        queue: queue.into(),
        priority: 0,
        payload: "{}".into(),
        headers: Headers::new(),
        published_at: Timestamp::default(),
        due_at: Timestamp::default(),
        debounce: None,
    }
}

#[tokio::test]
async fn message_whose_list_is_none_stays_where_it_is() {
    let fleet = Fleet::start().await;
    fleet.push(&[fleet.order(1).to_string().as_bytes()]).await;
    // It waits, its time comes, and its list is something else.
    let leases = fleet.claim(1).await.unwrap();
    fleet.end(leases, &retry(Duration::from_secs(5))).await;
    fleet.tell(&["SET", &fleet.key("mail"), "something else"]).await;
    fleet.clock.advance(Duration::from_secs(6));
    assert!(fleet.take().await.is_empty());
    assert!(fleet.take().await.is_empty());
    fleet.tell(&["DEL", &fleet.key("mail")]).await;
    fleet.clock.advance(Duration::from_mins(2));
    let leases = fleet.claim(1).await.unwrap();
    assert_eq!((leases.len(), leases[0].attempt), (1, 2));
    // It is held, and cannot be put back.
    fleet.tell(&["SET", &fleet.key("mail"), "something else"]).await;
    for next in [retry(Duration::ZERO), Next::Release { after: Duration::ZERO }] {
        fleet.try_end(&leases, &next).await.unwrap_err();
    }
    fleet.tell(&["DEL", &fleet.key("mail")]).await;
    assert_eq!(fleet.places().await, (0, 1, 1));
    assert_eq!(fleet.end(leases, &retry(Duration::ZERO)).await, [true]);
    // It is a dead letter, and cannot be one no more.
    let leases = fleet.claim(1).await.unwrap();
    fleet.end(leases, &Next::Bury { error: "it broke".into() }).await;
    let letter = fleet.dead_letters().await.remove(0);
    fleet.tell(&["SET", &fleet.key("mail"), "something else"]).await;
    fleet.broker.retry_dead_letter(letter.id).await.unwrap_err();
    fleet.tell(&["DEL", &fleet.key("mail")]).await;
    assert!(fleet.broker.retry_dead_letter(letter.id).await.unwrap());
    assert_eq!(fleet.take().await, [1]);
    assert_eq!(fleet.places().await, (0, 0, 0));
}

#[tokio::test]
async fn message_that_cannot_wait_or_be_buried_stays_held() {
    let fleet = Fleet::start().await;
    fleet.push(&[fleet.order(1).to_string().as_bytes()]).await;
    let leases = fleet.claim(1).await.unwrap();
    let bury = Next::Bury { error: "it broke".into() };
    for (key, next) in [
        ("events:scheduled", retry(Duration::from_secs(5))),
        ("events:dead", bury.clone()),
        ("events:dead_index", bury),
    ] {
        fleet.tell(&["SET", &fleet.key(key), "something else"]).await;
        fleet.try_end(&leases, &next).await.unwrap_err();
        fleet.tell(&["DEL", &fleet.key(key)]).await;
        assert_eq!(fleet.places().await, (0, 1, 1), "{key}");
    }
    assert_eq!(fleet.end(leases, &Next::Complete).await, [true]);
}

#[tokio::test]
async fn scripts_that_redis_forgot_are_told_again() {
    let fleet = Fleet::start().await;
    for number in 0..3 {
        fleet.push(&[fleet.order(number).to_string().as_bytes()]).await;
        fleet.tell(&["SCRIPT", "FLUSH", "SYNC"]).await;
        assert_eq!(fleet.take().await, [number]);
    }
}
