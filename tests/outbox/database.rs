//! The databases on which each promise is kept.

use std::fmt::Debug;

use events_core::broker::TaskTransaction;
use events_core::outbox::Outbox;
use events_core::prelude::*;
use events_core::{Admin, Broker, Forwarding};
use events_sqlx::{
    EventDatabase, EventTransaction, PostgresQueue, PostgresQueueOptions, SqliteQueue,
    SqliteQueueOptions,
};
use private_postgres::Server;
use sqlx::{AssertSqlSafe, PgPool, Postgres, Sqlite};

/// A database with a queue in it.
#[allow(async_fn_in_trait)] // used here only
pub trait Database: Sized + Send + Sync + 'static {
    type Db: EventDatabase;
    type Queue: Outbox + Broker<Transaction = EventTransaction<Self::Db>> + Admin + Debug;

    async fn new() -> Self;

    /// Opens the queue, as any process may.
    async fn open(&self, events: &Events, forwardings: Vec<Forwarding>) -> Self::Queue;

    fn begin(queue: &Self::Queue) -> impl Future<Output = EventTransaction<Self::Db>> + Send;

    async fn commit_task(transaction: EventTransaction<Self::Db>);

    async fn rollback_task(transaction: EventTransaction<Self::Db>);

    /// Publishes in a transaction that is somebody else's, and commits it if the flush succeeds.
    async fn join(queue: &Self::Queue, publisher: u32, number: u32) -> Result<(), String>;

    /// The outbox and how many rows it has, in a table of this name.
    const OUTBOX: &'static str;
    const TASKS: &'static str;

    /// The columns of the outbox beside the number, and what an insert says that brings its own.
    const COLUMNS: &'static str;
    const WITH_NUMBER: &'static str;

    async fn count(queue: &Self::Queue, table: &str) -> i64;

    async fn execute(queue: &Self::Queue, sql: &str);
}

pub struct SqliteFile(tempfile::TempDir);

impl SqliteFile {
    pub fn path(&self) -> std::path::PathBuf {
        self.0.path().join("app.db")
    }
}

impl Database for SqliteFile {
    type Db = Sqlite;
    type Queue = SqliteQueue;

    const OUTBOX: &'static str = "events_outbox";
    const TASKS: &'static str = "events_tasks";
    const COLUMNS: &'static str = "outbox, tasks, published_at, body, bytes";
    const WITH_NUMBER: &'static str = "";

    async fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    async fn open(&self, events: &Events, forwardings: Vec<Forwarding>) -> SqliteQueue {
        let options =
            forwardings.into_iter().fold(SqliteQueueOptions::new(), SqliteQueueOptions::forward);
        options.open(self.path(), events).await.unwrap()
    }

    async fn begin(queue: &SqliteQueue) -> EventTransaction<Sqlite> {
        queue.begin().await.unwrap()
    }

    async fn commit_task(transaction: EventTransaction<Sqlite>) {
        transaction.commit_task().await.unwrap();
    }

    async fn rollback_task(transaction: EventTransaction<Sqlite>) {
        transaction.rollback_task().await.unwrap();
    }

    async fn join(queue: &SqliteQueue, publisher: u32, number: u32) -> Result<(), String> {
        let mut owned = queue.pool().begin_with("BEGIN IMMEDIATE").await.unwrap();
        let mut joined = queue.join(&mut owned).await.unwrap();
        super::publish(&mut joined, publisher, number);
        joined.flush().await.map_err(|error| error.to_string())?;
        owned.commit().await.map_err(|error| error.to_string())
    }

    async fn count(queue: &SqliteQueue, table: &str) -> i64 {
        let sql = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        sqlx::query_scalar(sql).fetch_one(queue.pool()).await.unwrap()
    }

    async fn execute(queue: &SqliteQueue, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(queue.pool()).await.unwrap();
    }
}

pub struct PostgresDatabase(private_postgres::Database);

impl PostgresDatabase {
    pub async fn on(server: &'static Server) -> Self {
        Self(tokio::task::spawn_blocking(|| server.create_database()).await.unwrap())
    }

    pub fn url(&self) -> String {
        self.0.url()
    }
}

impl Database for PostgresDatabase {
    type Db = Postgres;
    type Queue = PostgresQueue;

    const OUTBOX: &'static str = "events.outbox";
    const TASKS: &'static str = "events.tasks";
    const COLUMNS: &'static str = "outbox, tasks, published_at, body";
    const WITH_NUMBER: &'static str = "OVERRIDING SYSTEM VALUE";

    async fn new() -> Self {
        Self::on(Server::shared()).await
    }

    async fn open(&self, events: &Events, forwardings: Vec<Forwarding>) -> PostgresQueue {
        let options = forwardings
            .into_iter()
            .fold(PostgresQueueOptions::new(), PostgresQueueOptions::forward);
        options.connect(&self.url(), events).await.unwrap()
    }

    async fn begin(queue: &PostgresQueue) -> EventTransaction<Postgres> {
        queue.begin().await.unwrap()
    }

    async fn commit_task(transaction: EventTransaction<Postgres>) {
        transaction.commit_task().await.unwrap();
    }

    async fn rollback_task(transaction: EventTransaction<Postgres>) {
        transaction.rollback_task().await.unwrap();
    }

    async fn join(queue: &PostgresQueue, publisher: u32, number: u32) -> Result<(), String> {
        let mut owned = queue.pool().begin().await.unwrap();
        let mut joined = queue.join(&mut owned).await.unwrap();
        super::publish(&mut joined, publisher, number);
        joined.flush().await.map_err(|error| error.to_string())?;
        owned.commit().await.map_err(|error| error.to_string())
    }

    async fn count(queue: &PostgresQueue, table: &str) -> i64 {
        count(queue.pool(), table).await.unwrap()
    }

    async fn execute(queue: &PostgresQueue, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(queue.pool()).await.unwrap();
    }
}

pub async fn count(pool: &PgPool, table: &str) -> Result<i64, sqlx::Error> {
    let sql = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
    sqlx::query_scalar(sql).fetch_one(pool).await
}

/// Each promise as a test of its own on each database.
macro_rules! on_each_database {
    ($($promise:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                super::$promise(crate::outbox::database::SqliteFile::new().await).await;
            })+
            use crate::outbox::database::Database as _;
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                super::$promise(crate::outbox::database::PostgresDatabase::new().await).await;
            })+
            use crate::outbox::database::Database as _;
        }
    };
}
pub(crate) use on_each_database;
