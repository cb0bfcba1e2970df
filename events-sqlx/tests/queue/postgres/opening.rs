//! Opening and migrating.

use events_core::broker::WorkerInfo;
use events_core::{Admin, Broker, Queues, WorkerId};
use events_sqlx::{PostgresQueue, PostgresQueueOptions, QueueError};
use futures_util::future::join_all;
use private_postgres::{Database, Server};
use sqlx::PgPool;

use super::support::{Fixture, HandClock, events, ping};

fn program() -> events_core::Events {
    events(events_core::EventSettings::default(), &HandClock::new())
}

async fn publish(queue: &PostgresQueue) -> Result<(), QueueError> {
    let mut session = queue.begin().await?;
    ping(&mut session, 1);
    session.commit().await
}

fn psql(database: &Database, sql: &str) -> String {
    Server::shared().psql(database.name(), sql).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_open_a_new_database_at_once() {
    let database = Server::shared().create_database();
    let events = program();
    let opening = (0..12).map(|_| {
        let (url, events) = (database.url(), events.clone());
        tokio::spawn(async move { PostgresQueue::connect(&url, &events).await })
    });
    for queue in join_all(opening).await {
        publish(&queue.unwrap().unwrap()).await.unwrap();
    }
    assert_eq!(psql(&database, "SELECT count(*) FROM events.tasks"), "12");
    // Each release's once.
    let once = "SELECT count(*) = max(version) FROM events.migrations";
    assert_eq!(psql(&database, once), "t");
}

#[tokio::test]
async fn data_survives_reopening_and_a_second_migration_changes_nothing() {
    let fixture = Fixture::new().await;
    fixture.publish(1).await;
    let before = tables(&fixture.database);
    let again = fixture.reopened(PostgresQueueOptions::new()).await;
    assert_eq!(again.counts().await.unwrap().available, 1);
    assert_eq!(tables(&fixture.database), before);
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

#[tokio::test]
async fn tables_of_a_newer_release_are_refused_and_left_alone() {
    let fixture = Fixture::new().await;
    fixture.run("INSERT INTO events.migrations VALUES (999, 0)").await;
    for migrate in [true, false] {
        let options = PostgresQueueOptions::new().migrate(migrate);
        let error = options.connect(&fixture.database.url(), &fixture.events).await.unwrap_err();
        assert!(matches!(error, QueueError::NewerSchema { found: 999, .. }), "{error:?}");
        assert!(error.to_string().contains("newer release"), "{error}");
    }
}

#[tokio::test]
async fn a_queue_that_is_not_to_migrate_says_what_to_do_when_nobody_has() {
    let database = Server::shared().create_database();
    let options = PostgresQueueOptions::new().migrate(false);
    let error = options.connect(&database.url(), &program()).await.unwrap_err();
    assert!(matches!(error, QueueError::OlderSchema { found: 0, .. }), "{error:?}");
    assert!(error.to_string().contains("`PostgresQueue::migrations`"), "{error}");
    assert_eq!(psql(&database, "SELECT to_regnamespace('events') IS NULL"), "t");
}

/// Every column, index, constraint and setting of the tables.
fn tables(database: &Database) -> String {
    psql(
        database,
        "SELECT line FROM (
            SELECT format('%s %s %s', table_name, ordinal_position, to_jsonb(columns)
                - 'table_catalog' - 'udt_catalog' - 'collation_catalog') AS line
            FROM information_schema.columns WHERE table_schema = 'events'
            UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'events'
            UNION ALL SELECT pg_get_constraintdef(oid) FROM pg_constraint
                WHERE connamespace = 'events'::regnamespace
            UNION ALL SELECT format('%s %s', relname, reloptions) FROM pg_class
                WHERE relnamespace = 'events'::regnamespace
            UNION ALL SELECT format('version %s', version) FROM events.migrations
        ) AS lines ORDER BY line",
    )
}

#[tokio::test]
async fn migrations_applied_by_hand_make_the_tables_that_the_queue_makes() {
    let by_queue = Fixture::new().await;
    let database = Server::shared().create_database();
    psql(&database, &PostgresQueue::migrations("events").unwrap());
    let made = tables(&by_queue.database);
    assert!(made.contains("fillfactor=70") && made.contains("tasks_waiting"), "{made}");
    assert_eq!(tables(&database), made);
    for migrate in [false, true] {
        let options = PostgresQueueOptions::new().migrate(migrate);
        publish(&options.connect(&database.url(), &by_queue.events).await.unwrap()).await.unwrap();
    }
    assert_eq!(tables(&database), made);
}

#[tokio::test]
async fn two_schemas_of_one_database_do_not_see_each_other() {
    let fixture = Fixture::new().await;
    let other = fixture.reopened(PostgresQueueOptions::new().schema("other_events")).await;
    fixture.publish(1).await;
    assert_eq!(other.counts().await.unwrap().available, 0);
    publish(&other).await.unwrap();
    publish(&other).await.unwrap();
    assert_eq!(fixture.queue.counts().await.unwrap().available, 1);
    let worker = WorkerId::generate();
    other.register(worker, &WorkerInfo::new(Queues::all(), 1)).await.unwrap();
    assert!(fixture.queue.claim(worker, &Queues::all(), 9).await.is_err());
    assert_eq!(other.claim(worker, &Queues::all(), 9).await.unwrap().tasks.len(), 2);
    assert!(other.health().await.unwrap().queues.is_empty());
}

#[tokio::test]
async fn a_schema_that_cannot_be_named_so_is_refused() {
    let database = Server::shared().create_database();
    for schema in ["Events", "ev-ents", "events; DROP", "pg_events", ""] {
        let options = PostgresQueueOptions::new().schema(schema);
        let error = options.connect(&database.url(), &program()).await.unwrap_err();
        assert!(matches!(error, QueueError::SchemaName { .. }), "{error:?}");
        PostgresQueue::migrations(schema).unwrap_err();
    }
}

/// A user of the database without rights, and how it connects.
fn user(database: &Database) -> (String, String) {
    let name = format!("{}_user", database.name());
    psql(database, &format!("CREATE ROLE {name} LOGIN"));
    let url = database.url().replace("postgres@", &format!("{name}@"));
    (name, url)
}

#[tokio::test]
async fn a_user_who_may_create_nothing_can_publish_and_work_on_tables_that_are_there() {
    let fixture = Fixture::new().await;
    let (name, url) = user(&fixture.database);
    let options = PostgresQueueOptions::new();
    let error = options.connect(&url, &fixture.events).await.unwrap_err();
    assert!(error.to_string().contains("grant this user USAGE on the schema"), "{error}");
    psql(
        &fixture.database,
        &format!(
            "GRANT USAGE ON SCHEMA events TO {name};
            GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA events TO {name}"
        ),
    );
    let queue = options.connect(&url, &fixture.events).await.unwrap();
    publish(&queue).await.unwrap();
    let worker = WorkerId::generate();
    queue.register(worker, &WorkerInfo::new(Queues::all(), 1)).await.unwrap();
    let lease = queue.claim(worker, &Queues::all(), 1).await.unwrap().tasks.remove(0);
    let transaction = queue.begin_task(worker, &lease.receipt).await.unwrap().unwrap();
    transaction.commit().await.unwrap();
    queue.health().await.unwrap();
    assert_eq!(fixture.tasks().await, 0);
}

#[tokio::test]
async fn a_user_may_migrate_a_schema_that_was_made_for_it() {
    let database = Server::shared().create_database();
    let (name, url) = user(&database);
    let error = PostgresQueue::connect(&url, &program()).await.unwrap_err();
    assert!(error.to_string().contains("grant this user USAGE on the schema"), "{error}");
    psql(&database, &format!("CREATE SCHEMA events AUTHORIZATION {name}"));
    publish(&PostgresQueue::connect(&url, &program()).await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_opened_says_what_to_do() {
    let database = Server::shared().create_database();
    let missing = database.url().replace(database.name(), "no_such_database");
    for (url, remedy) in [
        ("nonsense".to_owned(), "write it like `postgres://user@host/database`"),
        (missing, "create it, or give another one"),
        (database.url().replace("postgres@", "nobody@"), "the user or the password was refused"),
        ("postgres://postgres@127.0.0.1:1/x".to_owned(), "check that the server runs"),
    ] {
        let error = PostgresQueue::connect(&url, &program()).await.unwrap_err();
        assert!(error.to_string().contains(remedy), "{url}: {error}");
    }
}

#[tokio::test]
async fn a_pool_of_the_application_is_used_for_its_sessions() {
    let fixture = Fixture::new().await;
    let options = sqlx::postgres::PgPoolOptions::new().max_connections(1);
    let pool: PgPool = options.connect(&fixture.database.url()).await.unwrap();
    let queue = PostgresQueue::with_pool(pool.clone(), &fixture.events).await.unwrap();
    let session = queue.begin().await.unwrap();
    assert!(pool.try_acquire().is_none());
    session.commit().await.unwrap();
    publish(&queue).await.unwrap();
    assert_eq!(queue.counts().await.unwrap().available, 1);
}
