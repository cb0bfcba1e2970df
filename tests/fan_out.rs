//! Many subscribers, many sessions, savepoints.

use events_core::broker::Admin;
use events_core::prelude::*;
use events_runtime::{MemoryQueue, Worker};
use events_sqlx::SqliteQueue;
use events_testing::{TestSession, published};

use crate::world::{Seen, events_in, sqlite, work_until_drained};

/// An order was placed.
#[derive(Event, Debug, PartialEq)]
struct Ordered {
    number: u32,
}

type Log = Seen<(&'static str, u32)>;

#[subscribes_to(Ordered, freshness_only)]
async fn bill(event: Ordered, State(log): State<Log>) {
    log.push(("bill", event.number));
}

#[subscribes_to(Ordered, freshness_only, queue = "shipping")]
fn ship(event: Ordered, log: State<Log>) {
    log.push(("ship", event.number));
}

#[subscribes_to(Ordered, freshness_only, max_retries = 1, retry_backoff = "1ms")]
async fn always_fails(event: Ordered, State(log): State<Log>) -> Result<(), Failure> {
    log.push(("fail", event.number));
    Err(Failure::retry("the printer is on fire"))
}

#[publishes(Ordered)]
fn place(session: &mut impl Session, number: u32) -> Result<EventId, PublishError> {
    publish_after_commit(session, Ordered { number })
}

async fn program() -> (Events, SqliteQueue, Log, tempfile::TempDir) {
    let events = events_in(module_path!());
    let (queue, folder) = sqlite(&events).await;
    (events, queue, Log::default(), folder)
}

async fn work(events: &Events, queue: &SqliteQueue, log: &Log) {
    let worker = Worker::builder(events, queue.clone())
        .state(log.clone())
        .build()
        .expect("the worker starts");
    work_until_drained(worker).await;
}

fn of(log: &Log, kind: &str) -> Vec<u32> {
    log.all().into_iter().filter(|(seen, _)| *seen == kind).map(|(_, number)| number).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_subscriber_gets_a_task_and_a_failing_one_blocks_nobody() {
    let (events, queue, log, _folder) = program().await;
    let mut session = queue.begin().await.unwrap();
    place(&mut session, 7).unwrap();
    session.commit().await.unwrap();
    work(&events, &queue, &log).await;
    assert_eq!(of(&log, "bill"), [7]);
    assert_eq!(of(&log, "ship"), [7]);
    assert_eq!(of(&log, "fail"), [7, 7], "the first attempt and one retry");
    let dead = queue.dead_letters(10, None).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert!(dead[0].name.ends_with("always_fails"));
    let errors: Vec<_> = dead[0].attempts.iter().map(|attempt| &*attempt.error).collect();
    assert_eq!(errors, ["the printer is on fire"; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_sessions_publish_only_their_own() {
    let (events, queue, log, _folder) = program().await;
    let mut sessions = Vec::new();
    for number in 0..20 {
        let queue = queue.clone();
        sessions.push(tokio::spawn(async move {
            let mut session = queue.begin().await.unwrap();
            place(&mut session, number).unwrap();
            tokio::task::yield_now().await;
            match number % 2 {
                0 => session.commit().await.unwrap(),
                _ => session.rollback().await.unwrap(),
            }
        }));
    }
    for session in sessions {
        session.await.unwrap();
    }
    work(&events, &queue, &log).await;
    let mut billed = of(&log, "bill");
    billed.sort_unstable();
    assert_eq!(billed, (0..20).step_by(2).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn savepoint_rolled_back_takes_its_events_along_and_a_released_one_keeps_them() {
    let (_events, queue, _log, _folder) = program().await;
    let mut session = queue.begin().await.unwrap();
    sqlx::query("CREATE TABLE kept (number INTEGER)").execute(session.connection()).await.unwrap();
    place(&mut session, 1).unwrap();
    {
        let mut rolled_back = session.savepoint().await.unwrap();
        sqlx::query("INSERT INTO kept VALUES (2)").execute(rolled_back.connection()).await.unwrap();
        place(&mut rolled_back, 2).unwrap();
        let mut inner = rolled_back.savepoint().await.unwrap();
        place(&mut inner, 3).unwrap();
        inner.release().await.unwrap();
        assert_eq!(published::<Ordered>(&rolled_back).len(), 3);
        rolled_back.rollback().await.unwrap();
    }
    {
        let mut dropped = session.savepoint().await.unwrap();
        sqlx::query("INSERT INTO kept VALUES (4)").execute(dropped.connection()).await.unwrap();
        place(&mut dropped, 4).unwrap();
    }
    let mut released = session.savepoint().await.unwrap();
    sqlx::query("INSERT INTO kept VALUES (5)").execute(released.connection()).await.unwrap();
    place(&mut released, 5).unwrap();
    released.release().await.unwrap();
    place(&mut session, 6).unwrap();
    let numbers: Vec<_> = published::<Ordered>(&session).iter().map(|event| event.number).collect();
    assert_eq!(numbers, [1, 5, 6]);
    session.commit().await.unwrap();
    let kept: Vec<i64> =
        sqlx::query_scalar("SELECT number FROM kept").fetch_all(queue.pool()).await.unwrap();
    assert_eq!(kept, [5], "the rows went the way of the events");
}

#[tokio::test]
async fn eager_session_runs_every_subscriber_at_the_commit() {
    let events = events_in(module_path!());
    let log = Log::default();
    let mut session = TestSession::new(&events).state(log.clone());
    place(&mut session, 1).unwrap();
    place(&mut session, 2).unwrap();
    let drained = session.commit().await.unwrap();
    assert_eq!(of(&log, "bill"), [1, 2]);
    assert_eq!(of(&log, "ship"), [1, 2]);
    assert_eq!((drained.completed(), drained.retried()), (4, 2));
}

#[tokio::test]
async fn eager_session_rolled_back_runs_nothing() {
    let events = events_in(module_path!());
    let log = Log::default();
    let queue = MemoryQueue::new(&events);
    let mut session = TestSession::on(&queue).state(log.clone());
    place(&mut session, 1).unwrap();
    session.rollback();
    let drained = TestSession::on(&queue).state(log.clone()).commit().await.unwrap();
    assert!(drained.runs.is_empty());
    assert_eq!(log.all(), []);
}

#[tokio::test]
async fn memory_savepoints_discard_what_is_rolled_back() {
    let events = events_in(module_path!());
    let mut session = MemoryQueue::new(&events).begin();
    place(&mut session, 1).unwrap();
    let mut outer = session.savepoint();
    place(&mut outer, 2).unwrap();
    let mut inner = outer.savepoint();
    place(&mut inner, 3).unwrap();
    inner.rollback();
    outer.release();
    let mut dropped = session.savepoint();
    place(&mut dropped, 4).unwrap();
    drop(dropped);
    let numbers: Vec<_> = published::<Ordered>(&session).iter().map(|event| event.number).collect();
    assert_eq!(numbers, [1, 2]);
}
