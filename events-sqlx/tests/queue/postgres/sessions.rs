//! What a commit writes, and what it costs.

use events_core::Session;
use events_core::event::decode;
use events_sqlx::{PostgresQueueOptions, QueueError};

use super::support::{Fixture, change, effect, ping};
use super::wire::Wire;
use crate::program::{Changed, Pinged};

/// Everything that means something to a literal, an array, JSON or the wire.
const TEXTS: [&str; 12] = [
    "'; DROP TABLE effects; --",
    "\\",
    "\\'",
    "\"",
    "\0",
    "\\u0000",
    "NULL",
    "{},{\"a\":null}",
    "$1 $$ ? :a E'\\x41'",
    "\n\r\t\u{8}\u{7f}",
    "größer 🦀 \u{2028} \u{feff}",
    "a\u{1e}b",
];

#[tokio::test]
async fn every_text_arrives_as_it_was_published_among_few_and_among_many() {
    let fixture = Fixture::new().await;
    let worker = fixture.worker().await;
    // Two tasks each: a few are written one way, and more than a few another.
    for texts in TEXTS.chunks(2).chain([&TEXTS[..]]) {
        let mut session = fixture.queue.begin().await.unwrap();
        for text in texts {
            change(&mut session, text);
        }
        let published = session.pending_events().as_slice().to_vec();
        session.commit().await.unwrap();
        let leases = fixture.claim(worker, 100).await.tasks;
        assert_eq!(leases.len(), 2 * texts.len());
        let (first, later) = leases.split_at(texts.len());
        for half in [first, later] {
            for ((lease, event), text) in half.iter().zip(&published).zip(texts) {
                assert_eq!(&decode::<Changed>(&lease.task.payload).unwrap().text, text);
                assert_eq!(lease.task.event_id, event.id);
                assert_eq!(lease.task.event, event.event);
                assert_eq!(lease.task.queue, "changes");
                assert_eq!(lease.task.published_at, event.published_at);
                assert_eq!(lease.task.headers, event.headers);
            }
        }
    }
    assert_eq!(fixture.effects().await, 0);
}

#[tokio::test]
async fn many_events_of_one_commit_arrive_once_and_in_order() {
    let fixture = Fixture::new().await;
    let worker = fixture.worker().await;
    let mut session = fixture.queue.begin().await.unwrap();
    (0..1000).for_each(|count| ping(&mut session, count));
    effect(session.connection(), 1).await.unwrap();
    session.commit().await.unwrap();
    assert_eq!((fixture.effects().await, fixture.tasks().await), (1, 1000));
    let mut counts = Vec::new();
    for _ in 0..3 {
        let tasks = fixture.claim(worker, 400).await.tasks;
        counts.extend(tasks.iter().map(|it| decode::<Pinged>(&it.task.payload).unwrap().count));
    }
    assert_eq!(counts, (0..1000).collect::<Vec<_>>());
}

#[tokio::test]
async fn rollback_drop_and_a_commit_that_is_refused_leave_neither_effects_nor_tasks() {
    let fixture = Fixture::new().await;
    fixture
        .run("ALTER TABLE effects ADD CONSTRAINT once UNIQUE (value) DEFERRABLE INITIALLY DEFERRED")
        .await;
    fixture.session().await.rollback().await.unwrap();
    drop(fixture.session().await);
    for events in [0, 1, 10] {
        let mut session = fixture.queue.begin().await.unwrap();
        (0..events).for_each(|count| ping(&mut session, count));
        effect(session.connection(), 1).await.unwrap();
        // Checked at the commit, and only then.
        effect(session.connection(), 1).await.unwrap();
        let error = session.commit().await.unwrap_err();
        assert!(matches!(error, QueueError::Database { .. }), "{error:?}");
    }
    assert_eq!((fixture.effects().await, fixture.tasks().await), (0, 0));
    fixture.session().await.commit().await.unwrap();
    assert_eq!((fixture.effects().await, fixture.tasks().await), (1, 1));
    fixture.nothing_open().await;
}

#[tokio::test]
async fn savepoints_nest_and_take_their_events_with_them() {
    let fixture = Fixture::new().await;
    let worker = fixture.worker().await;
    let mut session = fixture.queue.begin().await.unwrap();
    ping(&mut session, 1);
    {
        let mut kept = session.savepoint().await.unwrap();
        effect(&mut kept, 1).await.unwrap();
        ping(&mut kept, 2);
        {
            let mut dropped = kept.savepoint().await.unwrap();
            effect(dropped.connection(), 2).await.unwrap();
            ping(&mut dropped, 3);
        }
        let mut rolled_back = kept.savepoint().await.unwrap();
        effect(rolled_back.connection(), 4).await.unwrap();
        ping(&mut rolled_back, 4);
        rolled_back.rollback().await.unwrap();
        kept.release().await.unwrap();
    }
    session.commit().await.unwrap();
    let tasks = fixture.claim(worker, 10).await.tasks;
    let payloads: Vec<_> = tasks.iter().map(|lease| &*lease.task.payload).collect();
    assert_eq!(payloads, [r#"{"count":1}"#, r#"{"count":2}"#]);
    assert_eq!(fixture.count("SELECT sum(value)::bigint FROM effects").await, 1);
}

/// In PostgreSQL an error spoils the transaction, unless it is confined to a savepoint.
#[tokio::test]
async fn an_error_in_a_savepoint_that_is_rolled_back_leaves_the_rest_of_the_session() {
    let fixture = Fixture::new().await;
    let mut session = fixture.session().await;
    let mut savepoint = session.savepoint().await.unwrap();
    ping(&mut savepoint, 2);
    sqlx::raw_sql("SELECT 1 / 0").execute(savepoint.connection()).await.unwrap_err();
    savepoint.rollback().await.unwrap();
    session.commit().await.unwrap();
    assert_eq!((fixture.effects().await, fixture.tasks().await), (1, 1));
}

#[tokio::test]
async fn a_leaked_savepoint_fails_the_commit() {
    let fixture = Fixture::new().await;
    let mut session = fixture.session().await;
    std::mem::forget(session.savepoint().await.unwrap());
    assert!(matches!(session.commit().await, Err(QueueError::SavepointOpen)));
    fixture.nothing_open().await;
    assert_eq!((fixture.effects().await, fixture.tasks().await), (0, 0));
    fixture.publish(2).await;
}

/// How many answers a session waits for that begins, writes nothing and commits so many events.
async fn round_trips(fixture: &Fixture, wire: &Wire, events: u32) -> u64 {
    // One connection, and none of the queue's own that would tell others of new tasks.
    let options = PostgresQueueOptions::new().max_connections(1).migrate(false);
    let queue = options.connect(&wire.url(), &fixture.events).await.unwrap();
    queue.begin().await.unwrap().rollback().await.unwrap();
    // The pool asks the connection that comes back whether it is there.
    let pool = queue.pool();
    super::support::until("the connection is back", async || pool.num_idle() == 1).await;
    let before = wire.round_trips();
    let mut session = queue.begin().await.unwrap();
    (0..events).for_each(|count| ping(&mut session, count));
    let begun = wire.round_trips();
    session.commit().await.unwrap();
    assert_eq!(begun - before, 1);
    // At the end: read at once, before anything else of the queue's can be answered.
    wire.round_trips() - begun
}

#[tokio::test]
async fn publishing_costs_no_round_trip_beside_the_commit_whatever_the_number_of_events() {
    let fixture = Fixture::new().await;
    let wire = Wire::to(&fixture.database).await;
    for events in [0, 1, 5, 1000] {
        assert_eq!(round_trips(&fixture, &wire, events).await, 1, "{events} events");
    }
    assert_eq!(fixture.tasks().await, 1006);
}
