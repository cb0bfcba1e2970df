//! A file in the test's directory.

use std::path::Path;

use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use stewardship::database::Connection;

/// A database that the program is not built for, and what it says then.
pub(crate) const OTHER_KIND: &str = "postgres://user@host/name";
pub(crate) const REMEDY: &str = "build it with `--features postgres`";

/// Refuses stewards of the monitor `m1234`.
pub(crate) const POISON: &str = "
    CREATE TRIGGER poison BEFORE INSERT ON monitor_stewards WHEN NEW.monitor_config_key = 'm1234'
    BEGIN SELECT RAISE(ABORT, 'poisoned'); END";

/// A database of the test's own.
pub(crate) struct TestDatabase(String);

impl TestDatabase {
    /// One that is there from its first use, in this directory.
    pub(crate) fn new(directory: &Path) -> Self {
        Self(directory.join("app.db").to_str().expect("the path is UTF-8").to_owned())
    }

    /// What to give as `--database`.
    pub(crate) fn location(&self) -> String {
        self.0.clone()
    }

    /// A connection.
    pub(crate) async fn connect(&self) -> Connection {
        SqliteConnectOptions::new().filename(&self.0).connect().await.expect("the database opens")
    }
}
