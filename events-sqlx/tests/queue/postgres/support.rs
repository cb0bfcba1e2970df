//! A queue in a database of its own.

use std::time::Duration;

use events_core::broker::{Claimed, Settlement, WorkerInfo};
use events_core::lifecycle::Next;
use events_core::prelude::*;
use events_core::{Broker, WorkerId};
use events_sqlx::{EventTransaction, PostgresQueue, PostgresQueueOptions, PostgresReceipt};
use private_postgres::{Database, Server};
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres};

pub(crate) use crate::program::{HandClock, change, events, ping};

/// A database of the shared server, a queue in it, and a pool that looks at both from outside.
pub(crate) struct Fixture {
    pub(crate) queue: PostgresQueue,
    pub(crate) events: Events,
    pub(crate) clock: HandClock,
    pub(crate) outside: PgPool,
    pub(crate) database: Database,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with(PostgresQueueOptions::new()).await
    }

    pub(crate) async fn with(options: PostgresQueueOptions) -> Self {
        Self::on(Server::shared(), options).await
    }

    pub(crate) async fn on(server: &Server, options: PostgresQueueOptions) -> Self {
        let database = server.create_database();
        let clock = HandClock::new();
        let events = events(EventSettings::default(), &clock);
        let queue = options.connect(&database.url(), &events).await.unwrap();
        let outside = PgPool::connect_lazy(&database.url()).unwrap();
        sqlx::query("CREATE TABLE effects (value bigint NOT NULL)")
            .execute(&outside)
            .await
            .unwrap();
        Self { queue, events, clock, outside, database }
    }

    /// The same database, as another process would open it.
    pub(crate) async fn reopened(&self, options: PostgresQueueOptions) -> PostgresQueue {
        options.connect(&self.database.url(), &self.events).await.unwrap()
    }

    pub(crate) async fn worker(&self) -> WorkerId {
        let worker = WorkerId::generate();
        self.queue.register(worker, &WorkerInfo::new(Queues::all(), 1)).await.unwrap();
        worker
    }

    pub(crate) async fn publish(&self, count: u32) {
        let mut session = self.queue.begin().await.unwrap();
        ping(&mut session, count);
        session.commit().await.unwrap();
    }

    /// A session with an effect and an event.
    pub(crate) async fn session(&self) -> EventTransaction<Postgres> {
        let mut session = self.queue.begin().await.unwrap();
        effect(session.connection(), 1).await.unwrap();
        ping(&mut session, 1);
        session
    }

    pub(crate) async fn claim(&self, worker: WorkerId, limit: usize) -> Claimed<PostgresReceipt> {
        self.queue.claim(worker, &Queues::all(), limit).await.unwrap()
    }

    pub(crate) async fn settle(
        &self,
        worker: WorkerId,
        receipt: PostgresReceipt,
        attempt: u32,
        next: Next,
    ) -> bool {
        let settlement = Settlement { receipt, attempt, next };
        self.queue.settle(worker, &[settlement]).await.unwrap()[0]
    }

    pub(crate) async fn tasks(&self) -> i64 {
        self.count("SELECT count(*) FROM events.tasks").await
    }

    pub(crate) async fn effects(&self) -> i64 {
        self.count("SELECT count(*) FROM effects").await
    }

    pub(crate) async fn count(&self, sql: &str) -> i64 {
        let sql = AssertSqlSafe(sql.to_owned());
        sqlx::query_scalar(sql).fetch_one(&self.outside).await.unwrap()
    }

    pub(crate) async fn run(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&self.outside).await.unwrap();
    }

    /// Ends every connection to the database but the one that does it.
    pub(crate) async fn terminate_all(&self) -> i64 {
        self.count(
            "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid, 10000)) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .await
    }

    /// How many connections are in a transaction and idle.
    pub(crate) async fn idle_in_transaction(&self) -> i64 {
        self.count(
            "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND state LIKE 'idle in transaction%'",
        )
        .await
    }

    /// Resolves when nobody has a transaction open any more.
    pub(crate) async fn nothing_open(&self) {
        let closed = async || self.idle_in_transaction().await == 0;
        until("every transaction is closed", closed).await;
    }
}

/// Resolves when `what` is so.
pub(crate) async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting)
        .await
        .unwrap_or_else(|_| panic!("not within 30 seconds: {what}"));
}

/// Fails rather than hangs.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("it hangs")
}

/// Writes something beside the events.
pub(crate) async fn effect(connection: &mut PgConnection, value: i64) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO effects VALUES ($1)").bind(value).execute(connection).await?;
    Ok(())
}
