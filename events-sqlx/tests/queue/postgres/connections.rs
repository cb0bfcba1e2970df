//! Who has which connection when there are few.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use events_core::broker::{Heartbeat, TaskTransaction};
use events_core::lifecycle::Next;
use events_core::{Admin, Broker};
use events_sqlx::{EventTransaction, PostgresQueue, PostgresQueueOptions};
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use sqlx::Postgres;
use sqlx::postgres::PgPoolOptions;

use super::support::{Fixture, change, effect, ping, soon, until};

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

async fn backend(session: &mut EventTransaction<Postgres>) -> i32 {
    sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(session.connection()).await.unwrap()
}

#[tokio::test]
async fn sessions_that_follow_one_another_keep_their_connection() {
    let fixture = Fixture::new().await;
    let mut backends = Vec::new();
    for count in 0..20 {
        let mut session = fixture.queue.begin().await.unwrap();
        effect(&mut session, count).await.unwrap();
        ping(&mut session, 1);
        backends.push(backend(&mut session).await);
        match count % 4 {
            3 => session.rollback().await.unwrap(),
            2 => drop(session),
            _ => session.commit().await.unwrap(),
        }
    }
    assert_eq!((fixture.effects().await, fixture.tasks().await), (10, 10));
    let kept = backends.windows(2).filter(|pair| pair[0] == pair[1]).count();
    assert!(kept >= 10, "{backends:?}");
}

/// Neither for long, nor in a transaction.
#[tokio::test]
async fn a_connection_that_no_session_takes_goes_back_to_its_pool() {
    let fixture = Fixture::new().await;
    for _ in 0..3 {
        let sessions = join_all((0..4).map(|_| fixture.queue.begin())).await;
        for session in sessions {
            session.unwrap().commit().await.unwrap();
        }
        let pool = fixture.queue.pool();
        let all_are_back = async || pool.size() > 0 && pool.num_idle() == pool.size() as usize;
        until("all connections are back", all_are_back).await;
        assert_eq!(fixture.idle_in_transaction().await, 0);
    }
    fixture.queue.begin().await.unwrap().commit().await.unwrap();
    soon(fixture.queue.pool().close()).await;
}

#[test]
fn connections_go_back_when_the_runtime_of_their_session_ends() {
    use tokio::runtime::Builder;
    // Drives its connections, whoever uses them.
    let lasting = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let fixture = lasting.block_on(Fixture::new());
    for count in 0..3 {
        let passing = Builder::new_current_thread().enable_all().build().unwrap();
        passing.block_on(soon(fixture.publish(count)));
        drop(passing);
        lasting.block_on(soon(fixture.publish(count)));
    }
    lasting.block_on(soon(fixture.queue.pool().close()));
}

#[tokio::test]
async fn what_one_session_sets_for_its_transaction_the_next_does_not_have() {
    const SET: &str = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE;
        SET LOCAL statement_timeout = '17s'";
    let fixture = Fixture::new().await;
    let mut session = fixture.queue.begin().await.unwrap();
    let first = backend(&mut session).await;
    session.commit().await.unwrap();
    let mut session = fixture.queue.begin().await.unwrap();
    sqlx::raw_sql(SET).execute(session.connection()).await.unwrap();
    session.commit().await.unwrap();
    let mut session = fixture.queue.begin().await.unwrap();
    let (isolation, read_only, timeout): (String, String, String) = sqlx::query_as(
        "SELECT current_setting('transaction_isolation'),
            current_setting('transaction_read_only'), current_setting('statement_timeout')",
    )
    .fetch_one(session.connection())
    .await
    .unwrap();
    assert_eq!((&*isolation, &*read_only, &*timeout), ("read committed", "off", "0"));
    assert_eq!(backend(&mut session).await, first, "it is the same connection");
}

/// Whoever made the pool may rely on its hooks, to reset a role for instance.
#[tokio::test]
async fn a_pool_of_the_application_s_own_sees_its_connections_between_two_sessions() {
    let fixture = Fixture::new().await;
    let released = Arc::new(AtomicUsize::new(0));
    let count = released.clone();
    let pool = PgPoolOptions::new()
        .after_release(move |_, _| {
            count.fetch_add(1, Ordering::SeqCst);
            Box::pin(async { Ok(true) })
        })
        .connect(&fixture.database.url())
        .await
        .unwrap();
    let queue = PostgresQueue::with_pool(pool, &fixture.events).await.unwrap();
    for count in 0..5 {
        let mut session = queue.begin().await.unwrap();
        ping(&mut session, count);
        session.commit().await.unwrap();
    }
    until("it has seen all", async || released.load(Ordering::SeqCst) >= 5).await;
    assert_eq!(fixture.tasks().await, 5);
}

/// Somebody rewrites the table, for instance. Those who only read their own tables must not wait.
#[tokio::test]
async fn a_lock_on_the_tasks_lets_no_new_connection_wait_for_ever() {
    const WAITING: &str = "SELECT count(*) FROM pg_locks
        WHERE relation = 'events.tasks'::regclass AND NOT granted";
    let fixture = Fixture::new().await;
    let mut locking = fixture.outside.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE events.tasks").execute(&mut *locking).await.unwrap();
    let options = PostgresQueueOptions::new().acquire_timeout(Duration::from_millis(2500));
    let queue = fixture.reopened(options).await;
    let refused = soon(queue.begin()).await;
    assert!(refused.is_err());
    until("nobody waits", async || fixture.count(WAITING).await == 0).await;
    locking.rollback().await.unwrap();
    queue.begin().await.unwrap().commit().await.unwrap();
}
