//! Tasks that are sent once the commit has succeeded.

use events_core::Forwarding;
use events_core::broker::{Broker, WorkerInfo};
use events_core::prelude::*;
use events_core::{Admin, WorkerId};
use events_runtime::{MemoryQueue, Worker, WorkerError};
use events_testing::ManualClock;

use super::database::{Database, on_each_database};
use super::transport::{Recorder, Verdict};
use super::{elsewhere, events, publish, until};
use crate::logs::Logs;

on_each_database! {
    what_is_committed_is_sent_in_order_before_the_commit_returns,
    what_was_rolled_back_is_not_sent,
    a_send_that_fails_is_logged_and_none_of_the_commit,
    a_joined_session_that_cannot_know_of_its_commit_is_refused_before_it_writes,
    a_transactional_handler_sends_after_its_commit_and_not_without,
    a_queue_in_memory_is_a_transport,
    a_worker_that_names_a_forwarded_queue_does_not_start,
}

async fn open<D: Database>(database: &D, transport: &Recorder) -> D::Queue {
    let events = events(&ManualClock::new());
    database.open(&events, vec![Forwarding::after_commit(elsewhere(), transport.clone())]).await
}

async fn what_is_committed_is_sent_in_order_before_the_commit_returns<D: Database>(database: D) {
    let transport = Recorder::new();
    let queue = open(&database, &transport).await;
    for commit in 0..10 {
        let mut session = D::begin(&queue).await;
        publish(&mut session, 1, 2 * commit);
        publish(&mut session, 1, 2 * commit + 1);
        assert_eq!(transport.calls(), commit as usize, "nothing before the commit");
        session.commit().await.unwrap();
        assert_eq!(transport.sent().len(), 2 * (commit as usize + 1));
    }
    assert_eq!(transport.numbers(), (0..20).map(|number| (1, number)).collect::<Vec<_>>());
    assert_eq!(D::count(&queue, D::TASKS).await, 20, "those of the other queue");
    assert_eq!(D::count(&queue, D::OUTBOX).await, 0);
}

async fn what_was_rolled_back_is_not_sent<D: Database>(database: D) {
    let transport = Recorder::new();
    let queue = open(&database, &transport).await;
    let mut session = D::begin(&queue).await;
    publish(&mut session, 1, 1);
    session.rollback().await.unwrap();
    let mut session = D::begin(&queue).await;
    publish(&mut session, 1, 2);
    drop(session);
    queue.events().set_enabled(false);
    let mut session = D::begin(&queue).await;
    publish(&mut session, 1, 3);
    session.commit().await.unwrap();
    assert_eq!(transport.calls(), 0);
}

async fn a_send_that_fails_is_logged_and_none_of_the_commit<D: Database>(database: D) {
    let transport = Recorder::judging(|task| match super::transport::numbers_of(task).1 {
        1 => Verdict::Later,
        2 => Verdict::Never,
        9 => Verdict::Panic,
        _ => Verdict::Sent,
    });
    let queue = open(&database, &transport).await;
    let (logs, _guard) = Logs::capture();
    let mut session = D::begin(&queue).await;
    for number in 0..4 {
        publish(&mut session, 1, number);
    }
    session.commit().await.unwrap();
    assert_eq!(transport.numbers(), [(1, 0), (1, 3)]);
    assert_eq!(D::count(&queue, D::TASKS).await, 4);
    let lost = "could not be sent after its commit and is lost";
    assert!(logs.has("ERROR", &[lost, "event_id=", "task_id=", "elsewhere", "not now"]), "{logs}");
    assert!(logs.has("ERROR", &[lost, "too large for the broker", "reconciler"]), "{logs}");
    let mut session = D::begin(&queue).await;
    publish(&mut session, 1, 9);
    session.commit().await.unwrap();
    assert!(logs.has("ERROR", &[lost, "panicked"]), "{logs}");
}

async fn a_joined_session_that_cannot_know_of_its_commit_is_refused_before_it_writes<
    D: Database,
>(
    database: D,
) {
    let transport = Recorder::new();
    let queue = open(&database, &transport).await;
    let refused = D::join(&queue, 1, 1).await.unwrap_err();
    assert!(refused.contains("`elsewhere`") && refused.contains("outbox"), "{refused}");
    assert_eq!((D::count(&queue, D::TASKS).await, transport.calls()), (0, 0));
}

async fn a_transactional_handler_sends_after_its_commit_and_not_without<D: Database>(database: D) {
    let transport = Recorder::new();
    let queue = open(&database, &transport).await;
    let worker = WorkerId::generate();
    queue.register(worker, &WorkerInfo::new(Queues::all(), 1)).await.unwrap();
    let mut session = D::begin(&queue).await;
    publish(&mut session, 1, 1);
    session.commit().await.unwrap();
    let claimed = queue.claim(worker, &Queues::all(), 1).await.unwrap().tasks;
    let receipt = claimed[0].receipt.clone();
    let mut undone = queue.begin_task(worker, &receipt).await.unwrap().unwrap();
    publish(&mut undone, 1, 2);
    D::rollback_task(undone).await;
    let mut transaction = queue.begin_task(worker, &receipt).await.unwrap().unwrap();
    publish(&mut transaction, 1, 3);
    D::commit_task(transaction).await;
    assert_eq!(transport.numbers(), [(1, 1), (1, 3)]);
    assert_eq!(queue.counts().await.unwrap().running, 0);
}

async fn a_queue_in_memory_is_a_transport<D: Database>(database: D) {
    let events = events(&ManualClock::new());
    let memory = MemoryQueue::new(&events);
    let forwarding = Forwarding::after_commit(elsewhere(), memory.clone());
    let queue = database.open(&events, vec![forwarding]).await;
    let mut session = D::begin(&queue).await;
    publish(&mut session, 1, 1);
    session.commit().await.unwrap();
    assert_eq!(memory.counts().await.unwrap().available, 1);
    // The session of the memory's own worker handles it.
    let worker = Worker::builder(&events, memory.clone()).queues(elsewhere()).build().unwrap();
    super::soon(worker.run_until_drained()).await.unwrap();
    until("it is handled", async || memory.counts().await.unwrap().is_drained()).await;
}

async fn a_worker_that_names_a_forwarded_queue_does_not_start<D: Database>(database: D) {
    let queue = open(&database, &Recorder::new()).await;
    let events = queue.events().clone();
    let named = Worker::builder(&events, queue.clone()).queues(elsewhere()).build().unwrap_err();
    assert!(matches!(named, WorkerError::ForwardedQueue { .. }), "{named}");
    assert!(named.to_string().contains("`elsewhere`"), "{named}");
    Worker::builder(&events, queue).build().unwrap();
}
