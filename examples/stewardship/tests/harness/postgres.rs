//! A database on a server that runs for these tests.

use std::path::Path;

use private_postgres::{Database, Server};
use sqlx::Connection as _;
use stewardship::database::Connection;

/// A database that the program is not built for, and what it says then.
pub(crate) const OTHER_KIND: &str = "app.db";
pub(crate) const REMEDY: &str = "build it without `--features postgres`";

/// Refuses stewards of the monitor `m1234`.
pub(crate) const POISON: &str = "
    CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN RAISE EXCEPTION $$poisoned$$; END';
    CREATE TRIGGER poison BEFORE INSERT ON monitor_stewards FOR EACH ROW
        WHEN (NEW.monitor_config_key = 'm1234') EXECUTE FUNCTION poison()";

/// A database of the test's own.
pub(crate) struct TestDatabase(Database);

impl TestDatabase {
    /// An empty one. The directory is for databases that are files.
    pub(crate) fn new(_: &Path) -> Self {
        Self(Server::shared().create_database())
    }

    /// What to give as `--database`.
    pub(crate) fn location(&self) -> String {
        self.0.url()
    }

    /// A connection.
    pub(crate) async fn connect(&self) -> Connection {
        Connection::connect(&self.location()).await.expect("the server is there")
    }
}
