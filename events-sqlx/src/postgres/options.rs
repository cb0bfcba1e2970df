//! How a queue is opened.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use events_core::forwarding::Forwardings;
use events_core::{Events, Forwarding};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgPool, Postgres};

use super::queue::{Parts, PostgresQueue};
use super::tables::Tables;
use crate::error::QueueError;
use crate::standby::Standby;

/// Options to open a [`PostgresQueue`] with.
///
/// ```no_run
/// # use events_core::Events;
/// # use events_sqlx::PostgresQueueOptions;
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let events = Events::builder().build()?;
/// let queue = PostgresQueueOptions::new()
///     .schema("shop_events")
///     .max_connections(20)
///     .connect("postgres://shop@localhost/shop", &events)
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use]
pub struct PostgresQueueOptions {
    schema: String,
    max_connections: u32,
    acquire_timeout: Duration,
    statement_timeout: Duration,
    transaction_pooling: bool,
    listen_url: Option<String>,
    migrate: bool,
    forwardings: Vec<Forwarding>,
}

impl fmt::Debug for PostgresQueueOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the URL: it may hold a password.
        f.debug_struct("PostgresQueueOptions")
            .field("schema", &self.schema)
            .field("max_connections", &self.max_connections)
            .field("acquire_timeout", &self.acquire_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .field("transaction_pooling", &self.transaction_pooling)
            .field("listens_elsewhere", &self.listen_url.is_some())
            .field("migrate", &self.migrate)
            .field("forwardings", &self.forwardings)
            .finish()
    }
}

impl Default for PostgresQueueOptions {
    fn default() -> Self {
        Self {
            schema: "events".into(),
            max_connections: 16,
            acquire_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(10),
            transaction_pooling: false,
            listen_url: None,
            migrate: true,
            forwardings: Vec::new(),
        }
    }
}

/// For claims, outcomes, heartbeats and announcements: none waits for another. The listener has one
/// more, of its own.
const OWN_CONNECTIONS: u32 = 4;

/// Of each outbox, for its relay: one reads and one writes.
const FOR_RELAY: u32 = 2;

/// What a connection of the queue's own is set to. Statements are planned once, not for every claim,
/// and go by an index, in its order: whatever is known of a table that was filled or emptied just
/// now, there is no other plan to choose.
const OWN_SETTINGS: &str = "SET plan_cache_mode = force_generic_plan; SET jit = off;
    SET enable_seqscan = off; SET enable_bitmapscan = off;
    SET default_transaction_isolation = 'read committed'; SET lock_timeout = '1s';
    SET statement_timeout = ";

/// The server notices within a minute that a connection's other end is gone, and rolls back what it
/// had open. By default it takes two hours.
const KEEPALIVES: [(&str, &str); 3] = [
    ("tcp_keepalives_idle", "30"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
];

/// A connection that was idle for longer is asked whether it is still there.
const FRESH: Duration = Duration::from_secs(1);

impl PostgresQueueOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The schema of the events tables; created if it is missing. Default `events`.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// How many connections the application's pool may have. Default 16, as many as a worker runs
    /// handlers at once by default: add those that the rest of the program holds. The queue keeps up to five
    /// more for itself, and two for each outbox; see [connections](PostgresQueue#connections).
    pub fn max_connections(mut self, connections: u32) -> Self {
        self.max_connections = connections.max(1);
        self
    }

    /// How long to wait for a connection of the application's pool. Default 10 seconds.
    pub fn acquire_timeout(mut self, timeout: Duration) -> Self {
        self.acquire_timeout = timeout;
        self
    }

    /// How long a statement of the queue's own may take before it is given up and tried again, so
    /// that one which hangs, or a connection whose other end is gone, freezes nothing. Sessions and
    /// handlers are not limited by it. Default 10 seconds; less than 100 milliseconds or more than a
    /// day is taken for these. An operation of several statements may take twice as long, and none
    /// waits for a lock for longer than a second.
    pub fn statement_timeout(mut self, timeout: Duration) -> Self {
        self.statement_timeout =
            timeout.clamp(Duration::from_millis(100), Duration::from_hours(24));
        self
    }

    /// The database is reached through pgbouncer, or the like, in transaction mode: connections are
    /// not set to anything, and no wake-ups are received but through [`listen_url`](Self::listen_url).
    /// Set the program's role instead:
    ///
    /// ```sql
    /// ALTER ROLE shop SET lock_timeout = '1s';
    /// ALTER ROLE shop SET plan_cache_mode = force_generic_plan;
    /// ```
    ///
    /// Without a `lock_timeout`, an outcome whose row somebody has locked holds up the others.
    ///
    /// The pooler must keep prepared statements apart, as pgbouncer does from 1.21 on with
    /// `max_prepared_statements` above 0. With an older one use its session mode.
    pub fn transaction_pooling(mut self, yes: bool) -> Self {
        self.transaction_pooling = yes;
        self
    }

    /// Where to listen for wake-ups, if not at the database's URL: a direct one, past pgbouncer.
    pub fn listen_url(mut self, url: impl Into<String>) -> Self {
        self.listen_url = Some(url.into());
        self
    }

    /// Whether the queue migrates its tables when it is opened. Default yes. Else it checks that
    /// they are there; see [`PostgresQueue::migrations`].
    pub fn migrate(mut self, yes: bool) -> Self {
        self.migrate = yes;
        self
    }

    /// Sends the tasks of some queues elsewhere than to the database. May be called several times, for
    /// queues that are not the same.
    pub fn forward(mut self, forwarding: Forwarding) -> Self {
        self.forwardings.push(forwarding);
        self
    }

    /// Connects, and migrates the events tables.
    ///
    /// # Errors
    /// A URL cannot be read, a queue is forwarded twice, the schema cannot have its name, the database cannot be reached, the
    /// user may not create the events tables, they are those of a newer release, or, with
    /// [`migrate`](Self::migrate) off, they are not there or older. The text says what to do.
    pub async fn connect(&self, url: &str, events: &Events) -> Result<PostgresQueue, QueueError> {
        let options = match self.transaction_pooling {
            true => parse(url)?,
            false => parse(url)?.options(KEEPALIVES),
        };
        let tables = Tables::of(&self.schema)?.prepared(!self.transaction_pooling);
        let prepare = tables.are_prepared().then(|| tables.statements().prepare_insert.clone());
        let pool = PgPoolOptions::new()
            .after_connect(move |connection, _| {
                let prepare = prepare.clone();
                Box::pin(async move {
                    if let Some(prepare) = prepare {
                        sqlx::raw_sql(prepare).execute(connection).await?;
                    }
                    Ok(())
                })
            })
            .max_connections(self.max_connections)
            .acquire_timeout(self.acquire_timeout)
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for > FRESH {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(options);
        // Behind a pooler a connection that is put aside keeps one of the server's from others.
        let standby = (!self.transaction_pooling).then(|| Standby::of(&pool));
        self.open(pool, standby, tables, events).await
    }

    /// A queue in the database of a pool that the application owns; migrates the events tables.
    ///
    /// The queue opens up to five connections more, and two for each outbox, for itself, with the pool's connect options.
    /// Hooks of the pool such as `after_connect` do not run on them. The number of connections and
    /// the acquire timeout of these options do not apply. sqlx asks a connection whether it is
    /// still there before it hands it out, which costs a round trip for each session;
    /// `test_before_acquire(false)` on the pool saves it.
    ///
    /// Unlike [`connect`](Self::connect), this sets no keepalives. Give them to the pool's connect
    /// options, `.options([("tcp_keepalives_idle", "30"), …])`, or a task whose transaction's
    /// connection breaks without a word stays locked until the server notices, by default after
    /// two hours.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn with_pool(
        &self,
        pool: PgPool,
        events: &Events,
    ) -> Result<PostgresQueue, QueueError> {
        self.open(pool, None, Tables::of(&self.schema)?, events).await
    }

    async fn open(
        &self,
        pool: PgPool,
        standby: Option<Arc<Standby<Postgres>>>,
        tables: Tables,
        events: &Events,
    ) -> Result<PostgresQueue, QueueError> {
        let forwardings = Forwardings::new(self.forwardings.clone())?;
        forwardings.tell_unforwarded(events);
        let options = (*pool.connect_options()).clone();
        let listen = match &self.listen_url {
            Some(url) => Some(parse(url)?),
            None => (!self.transaction_pooling).then(|| options.clone()),
        };
        let outboxes = u32::try_from(forwardings.outboxes().len()).unwrap_or(u32::MAX);
        let own = OWN_CONNECTIONS.saturating_add(outboxes.saturating_mul(FOR_RELAY));
        let own = self.own(options.disable_statement_logging(), own);
        let parts = Parts {
            pool,
            standby,
            own,
            listen,
            tables,
            forwardings,
            patience: self.statement_timeout * 2,
            migrate: self.migrate,
        };
        PostgresQueue::start(parts, events).await
    }

    fn own(&self, options: PgConnectOptions, connections: u32) -> PgPool {
        let settings = match self.transaction_pooling {
            true => None,
            false => Some(format!("{OWN_SETTINGS}{}", self.statement_timeout.as_millis())),
        };
        PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(self.statement_timeout)
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for > FRESH {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .after_connect(move |connection, _| {
                let settings = settings.clone();
                Box::pin(async move {
                    if let Some(settings) = settings {
                        sqlx::raw_sql(sqlx::AssertSqlSafe(settings)).execute(connection).await?;
                    }
                    Ok(())
                })
            })
            .connect_lazy_with(options)
    }
}

fn parse(url: &str) -> Result<PgConnectOptions, QueueError> {
    // Not shown: it may hold a password.
    PgConnectOptions::from_str(url).map_err(|source| QueueError::Url { source })
}

#[cfg(test)]
mod tests {
    use events_core::{Forwarding, Queues};
    use private_postgres::Server;

    use super::*;

    #[tokio::test]
    async fn each_outbox_has_connections_for_its_relay() {
        let database = Server::shared().create_database();
        let events = Events::builder().build().unwrap();
        let named = |name: &str| Forwarding::named_outbox(name, Queues::only([name]));
        let options = PostgresQueueOptions::new().forward(named("one")).forward(named("two"));
        let queue = options.connect(&database.url(), &events).await.unwrap();
        assert_eq!(
            queue.inner.own.options().get_max_connections(),
            OWN_CONNECTIONS + 2 * FOR_RELAY
        );
    }
}
