//! Who has which connection when there are few.

use std::time::Duration;

use events_core::broker::{Heartbeat, TaskTransaction};
use events_core::lifecycle::Next;
use events_core::{Admin, Broker};
use events_sqlx::PostgresQueueOptions;
use futures_util::{StreamExt, stream};

use super::support::{Fixture, change, effect, ping, soon};

#[tokio::test]
async fn a_session_that_holds_the_only_connection_keeps_no_worker_from_its_work() {
    let fixture = Fixture::with(PostgresQueueOptions::new().max_connections(1)).await;
    fixture.publish(1).await;
    let session = fixture.session().await;
    let worker = fixture.worker().await;
    let lease = fixture.claim(worker, 1).await.tasks.remove(0);
    assert_eq!(fixture.queue.heartbeat(worker).await.unwrap(), Heartbeat::Alive);
    assert!(fixture.queue.rescue(worker, Duration::from_secs(15)).await.unwrap().is_empty());
    assert!(fixture.settle(worker, lease.receipt, 1, Next::Complete).await);
    assert_eq!(fixture.queue.counts().await.unwrap().available, 0);
    fixture.queue.health().await.unwrap();
    session.commit().await.unwrap();
    assert_eq!(fixture.claim(worker, 1).await.tasks.len(), 1);
}

#[tokio::test]
async fn a_session_that_gets_no_connection_in_time_says_so() {
    let options = PostgresQueueOptions::new().max_connections(1);
    let fixture = Fixture::with(options.acquire_timeout(Duration::from_millis(50))).await;
    let held = fixture.session().await;
    let error = fixture.queue.begin().await.unwrap_err();
    assert!(error.to_string().contains("every connection of the pool is in use"), "{error}");
    held.commit().await.unwrap();
    fixture.queue.begin().await.unwrap().commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_handlers_than_connections_take_turns_and_all_finish() {
    let fixture = Fixture::with(PostgresQueueOptions::new().max_connections(2)).await;
    let worker = fixture.worker().await;
    let mut session = fixture.queue.begin().await.unwrap();
    (0..200).for_each(|count| ping(&mut session, count));
    session.commit().await.unwrap();
    let leases = fixture.claim(worker, 200).await.tasks;
    let handle = async |receipt| {
        let begun = fixture.queue.begin_task(worker, &receipt).await.unwrap();
        let mut transaction = begun.expect("the lease holds");
        effect(&mut transaction, 1).await.unwrap();
        change(&mut transaction, "follows");
        fixture.queue.heartbeat(worker).await.unwrap();
        transaction.commit_task().await.unwrap();
    };
    let handled = stream::iter(leases).for_each_concurrent(16, |lease| handle(lease.receipt));
    soon(handled).await;
    assert_eq!((fixture.effects().await, fixture.tasks().await), (200, 400));
    let counts = fixture.queue.counts().await.unwrap();
    assert_eq!((counts.running, counts.available), (0, 400));
}
