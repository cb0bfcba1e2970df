//! A database of a benchmark's own, and what is in it.

use std::ffi::OsString;

use events_core::Events;
use stewardship::database::{Location, Queue};
use stewardship::replay::open_with;
use stewardship::settings;

use crate::Failed;

/// A queue in a database that goes with it.
pub(crate) struct World {
    pub(crate) queue: Queue,
    #[cfg(feature = "postgres")]
    _database: private_postgres::Database,
    #[cfg(not(feature = "postgres"))]
    _directory: tempfile::TempDir,
}

impl World {
    /// An empty one, with the application's tables. PostgreSQL is durable, as it is by default.
    #[cfg(feature = "postgres")]
    pub(crate) async fn new() -> Result<Self, Failed> {
        use std::sync::LazyLock;

        use private_postgres::{Server, Settings};

        static SERVER: LazyLock<Result<Server, private_postgres::Error>> = LazyLock::new(|| {
            let settings = Settings { durable: true, ..Settings::default() };
            Server::start(settings.set("shared_buffers", "1GB").set("max_wal_size", "8GB"))
        });
        let database = SERVER.as_ref()?.create_database();
        let queue = open(database.url().into()).await?;
        Ok(Self { queue, _database: database })
    }

    /// An empty one, with the application's tables.
    #[cfg(not(feature = "postgres"))]
    pub(crate) async fn new() -> Result<Self, Failed> {
        let directory = tempfile::tempdir()?;
        let queue = open(directory.path().join("app.db").into()).await?;
        Ok(Self { queue, _directory: directory })
    }

    pub(crate) async fn execute(&self, sql: &'static str) -> Result<u64, Failed> {
        Ok(sqlx::query(sql).execute(self.queue.pool()).await?.rows_affected())
    }
}

async fn open(location: OsString) -> Result<Queue, Failed> {
    let events = Events::builder().settings(settings::settings()).build()?;
    Ok(open_with(&Location::try_from(location)?, &events).await?)
}

/// 100,000 monitors: 20 to each of 5,000 connections, each of which leads to two of 10,000 systems,
/// each of which has five of 2,000 users as its stewards. So a million rows are due.
pub(crate) const ORGANISATION: [&str; 6] = [
    "INSERT INTO users (id)
     WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < 1999)
     SELECT 'user-' || n FROM numbers",
    "INSERT INTO systems (id)
     WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < 9999)
     SELECT 'system-' || n FROM numbers",
    "INSERT INTO connection_configs (id)
     WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < 4999)
     SELECT 'connection-' || n FROM numbers",
    "INSERT INTO system_managers (user_id, system_id)
     WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < 49999)
     SELECT 'user-' || ((n * 7 + n / 10000) % 2000), 'system-' || (n % 10000) FROM numbers WHERE true
     ON CONFLICT DO NOTHING",
    "INSERT INTO system_connection_config_links (system_id, connection_config_id)
     WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < 9999)
     SELECT 'system-' || n, 'connection-' || (n % 5000) FROM numbers",
    "INSERT INTO monitor_configs (key, connection_config_id, inherit_system_stewards)
     WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < 99999)
     SELECT 'monitor-' || n, 'connection-' || (n % 5000), true FROM numbers",
];
