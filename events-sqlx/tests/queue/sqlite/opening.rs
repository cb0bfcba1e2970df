//! Opening and migrating.

use events_core::{Admin, EventSettings};
use events_sqlx::{QueueError, SqliteQueue, SqliteQueueOptions, Synchronous};
use futures_util::future::join_all;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};

use crate::sqlite::support::{Fixture, HandClock, events, ping};

#[tokio::test]
async fn data_survives_reopening() {
    let fixture = Fixture::new().await;
    fixture.publish(1).await;
    let worker = fixture.worker().await;
    assert_eq!(fixture.claim(worker, 1).await.tasks.len(), 1);
    fixture.publish(2).await;
    let again = fixture.reopened().await;
    let counts = again.counts().await.unwrap();
    assert_eq!((counts.available, counts.running), (1, 1));
}

#[test]
fn a_queue_may_be_dropped_when_the_runtime_is_gone() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let fixture = runtime.block_on(async {
        let fixture = Fixture::new().await;
        fixture.publish(1).await;
        let worker = fixture.worker().await;
        assert_eq!(fixture.claim(worker, 1).await.tasks.len(), 1);
        fixture
    });
    drop(runtime);
    drop(fixture);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_open_a_new_file_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new.db");
    let events = events(EventSettings::default(), &HandClock::new());
    let opening = (0..12).map(|_| {
        let (path, events) = (path.clone(), events.clone());
        tokio::spawn(async move { SqliteQueue::open(path, &events).await })
    });
    for queue in join_all(opening).await {
        let queue = queue.unwrap().unwrap();
        let mut session = queue.begin().await.unwrap();
        ping(&mut session, 1);
        session.commit().await.unwrap();
    }
    let queue = SqliteQueue::open(path, &events).await.unwrap();
    assert_eq!(queue.counts().await.unwrap().available, 12);
    let each_once: bool =
        sqlx::query_scalar("SELECT count(*) = max(version) FROM events_migrations")
            .fetch_one(queue.pool())
            .await
            .unwrap();
    assert!(each_once);
}

#[tokio::test]
async fn a_database_of_a_newer_release_is_refused_and_left_alone() {
    let fixture = Fixture::new().await;
    sqlx::query("INSERT INTO events_migrations VALUES (999, 0)")
        .execute(fixture.queue.pool())
        .await
        .unwrap();
    let error = SqliteQueue::open(fixture.path(), &fixture.events).await.unwrap_err();
    assert!(matches!(error, QueueError::NewerSchema { found: 999, .. }));
    assert!(error.to_string().contains("newer release"));
}

#[tokio::test]
async fn what_cannot_be_opened_says_what_to_do() {
    let fixture = Fixture::new().await;
    let directory = fixture.directory.path();
    std::fs::write(directory.join("text.db"), "this is not a database, whatever its name says")
        .unwrap();
    for (path, expected) in [
        (directory.join("missing").join("app.db"), "create its directory"),
        (directory.join("text.db"), "not an SQLite database"),
    ] {
        let error = SqliteQueue::open(&path, &fixture.events).await.unwrap_err();
        assert!(matches!(error, QueueError::Open { .. }), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
    for memory in [":memory:", "sqlite::memory:", "sqlite://app?mode=memory", ""] {
        let error = SqliteQueue::open(memory, &fixture.events).await.unwrap_err();
        assert!(matches!(error, QueueError::InMemory { .. }), "{memory}: {error}");
    }
}

#[tokio::test]
async fn a_damaged_file_is_an_error_with_a_remedy() {
    let fixture = Fixture::new().await;
    let path = fixture.directory.path().join("damaged.db");
    fixture.queue.pool().acquire().await.unwrap();
    sqlx::query("VACUUM INTO ?1")
        .bind(path.to_str().unwrap())
        .execute(fixture.queue.pool())
        .await
        .unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100..].fill(0xee);
    std::fs::write(&path, bytes).unwrap();
    let error = SqliteQueue::open(&path, &fixture.events).await.unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");
}

#[tokio::test]
async fn connections_are_set_as_documented() {
    let fixture = Fixture::new().await;
    let url = format!("sqlite:{}", fixture.path().display());
    let full = SqliteQueueOptions::new()
        .synchronous(Synchronous::Full)
        .busy_timeout(std::time::Duration::from_millis(1234))
        .open(url, &fixture.events)
        .await
        .unwrap();
    for (queue, synchronous, busy) in [(&fixture.queue, 1, 5000), (&full, 2, 1234)] {
        let pragma =
            async |sql| sqlx::query_scalar::<_, i64>(sql).fetch_one(queue.pool()).await.unwrap();
        assert_eq!(pragma("PRAGMA synchronous").await, synchronous);
        assert_eq!(pragma("PRAGMA busy_timeout").await, busy);
        assert_eq!(pragma("PRAGMA foreign_keys").await, 1);
        let mode: String =
            sqlx::query_scalar("PRAGMA journal_mode").fetch_one(queue.pool()).await.unwrap();
        assert_eq!(mode, "wal");
    }
}

#[tokio::test]
async fn a_pool_of_the_application_is_used_if_it_is_in_wal_mode() {
    let fixture = Fixture::new().await;
    let path = fixture.directory.path().join("own.db");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let rollback_journal = SqlitePool::connect_with(options.clone()).await.unwrap();
    let error = SqliteQueue::with_pool(rollback_journal, &fixture.events).await.unwrap_err();
    assert!(error.to_string().contains("journal_mode(SqliteJournalMode::Wal)"), "{error}");
    let wal = SqlitePool::connect_with(options.journal_mode(SqliteJournalMode::Wal)).await.unwrap();
    let queue = SqliteQueue::with_pool(wal, &fixture.events).await.unwrap();
    let mut session = queue.begin().await.unwrap();
    ping(&mut session, 1);
    session.commit().await.unwrap();
    assert_eq!(queue.counts().await.unwrap().available, 1);
}

#[tokio::test]
async fn two_sessions_in_one_task_are_refused_in_time_and_say_why() {
    let fixture = Fixture::new().await;
    let queue = SqliteQueueOptions::new()
        .busy_timeout(std::time::Duration::from_millis(50))
        .open(fixture.path(), &fixture.events)
        .await
        .unwrap();
    let held = queue.begin().await.unwrap();
    let error = queue.begin().await.unwrap_err();
    assert!(error.is_busy() && !error.is_disk_full());
    assert!(error.to_string().contains("end a transaction before beginning the next"), "{error}");
    // Another process, or a connection beside the queue, contends by the busy timeout.
    let error = SqliteQueueOptions::new()
        .busy_timeout(std::time::Duration::from_millis(50))
        .open(fixture.path(), &fixture.events)
        .await
        .unwrap()
        .begin()
        .await
        .unwrap_err();
    assert!(error.is_busy(), "{error:?}");
    assert!(error.to_string().contains("another process is writing"), "{error}");
    held.commit().await.unwrap();
    queue.begin().await.unwrap().commit().await.unwrap();
}
