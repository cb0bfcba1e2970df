//! Runs the program on logs and databases of its own.

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(not(feature = "postgres"))]
mod sqlite;

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use sqlx::Connection as _;
use stewardship::database::{Connection, Location};
use tempfile::TempDir;

#[cfg(feature = "postgres")]
use postgres as chosen;
#[cfg(not(feature = "postgres"))]
use sqlite as chosen;

pub(crate) use chosen::{OTHER_KIND, POISON, REMEDY, TestDatabase};

/// Every row of the application's state, derived and not, to compare two databases.
pub(crate) const STATE: &str = "SELECT 'user ' || id FROM users
     UNION ALL SELECT 'system ' || id FROM systems
     UNION ALL SELECT 'connection ' || id FROM connection_configs
     UNION ALL SELECT 'manager ' || user_id || ' ' || system_id FROM system_managers
     UNION ALL SELECT 'link ' || system_id || ' ' || connection_config_id
         FROM system_connection_config_links
     UNION ALL SELECT 'monitor ' || key || ' ' || coalesce(connection_config_id, '-')
         || ' ' || inherit_system_stewards FROM monitor_configs
     UNION ALL SELECT 'steward ' || monitor_config_key || ' ' || user_id || ' ' || source
         || ' ' || coalesce(source_system_id, '-') FROM monitor_stewards
     UNION ALL SELECT 'resource ' || monitor_config_key || ' ' || urn || ' ' || status
         FROM staged_resources
     UNION ALL SELECT 'statistics ' || monitor_config_key || ' ' || addition || ' '
         || classified || ' ' || reviewed || ' ' || confirmed || ' ' || promoted || ' '
         || muted || ' ' || operations FROM monitor_aggregate_statistics
     ORDER BY 1";

/// A directory with a log, and a database, removed in the end.
pub(crate) struct Workspace {
    directory: TempDir,
    pub(crate) database: TestDatabase,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("output is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("output is UTF-8"),
        }
    }
}

impl Ended {
    /// The number on the report's line of this name.
    #[track_caller]
    pub(crate) fn number(&self, name: &str) -> u64 {
        let line = self.stdout.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
        let text = line.unwrap_or_else(|| panic!("no line `{name}` in {self:?}"));
        text.split_whitespace().next().unwrap().parse().unwrap()
    }

    #[track_caller]
    pub(crate) fn assert_converged(&self, code: i32) {
        assert!(self.stdout.lines().any(|line| line == "converged: yes"), "{self:?}");
        assert_eq!(self.code, Some(code), "{self:?}");
    }
}

pub(crate) fn stewardship(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stewardship"));
    command.args(arguments).env_remove("RUST_LOG");
    command
}

pub(crate) fn run(arguments: &[&str]) -> Ended {
    stewardship(arguments).output().expect("the program starts").into()
}

impl Workspace {
    /// With this log.
    pub(crate) fn with_log(log: impl AsRef<[u8]>) -> Self {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("log.jsonl"), log).unwrap();
        let database = TestDatabase::new(directory.path());
        Self { directory, database }
    }

    /// With a log of these lines.
    pub(crate) fn with_lines(lines: &[&str]) -> Self {
        Self::with_log(lines.join("\n") + "\n")
    }

    /// Adds lines to the log.
    pub(crate) fn append(&self, lines: &[&str]) {
        let log = self.path("log.jsonl");
        let before = fs::read_to_string(&log).unwrap();
        fs::write(log, before + &lines.join("\n") + "\n").unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Where its database is.
    pub(crate) fn location(&self) -> Location {
        Location::try_from(OsString::from(self.database.location())).unwrap()
    }

    pub(crate) fn command(&self, more: &[&str]) -> Command {
        let mut command = stewardship(&["replay"]);
        command.arg(self.path("log.jsonl")).arg("--database").arg(self.database.location());
        command.args(more);
        command
    }

    pub(crate) fn replay(&self) -> Ended {
        self.replay_with(&[])
    }

    pub(crate) fn replay_with(&self, more: &[&str]) -> Ended {
        self.command(more).output().expect("the program starts").into()
    }

    pub(crate) fn reconcile(&self) -> Ended {
        self.reconcile_these(&[])
    }

    pub(crate) fn reconcile_these(&self, monitors: &[&str]) -> Ended {
        let location = self.database.location();
        run(&[&["reconcile", "--database", &location], monitors].concat())
    }

    /// Column one of what this query finds.
    pub(crate) fn rows(&self, sql: &'static str) -> Vec<String> {
        self.with_connection(async |connection| {
            sqlx::query_scalar(sql).fetch_all(connection).await.unwrap()
        })
    }

    pub(crate) fn execute(&self, sql: &'static str) -> u64 {
        self.with_connection(async |connection| {
            sqlx::query(sql).execute(connection).await.unwrap().rows_affected()
        })
    }

    /// Several statements at once.
    pub(crate) fn execute_all(&self, sql: &'static str) {
        self.with_connection(async |connection| {
            sqlx::raw_sql(sql).execute(connection).await.unwrap();
        });
    }

    /// `monitor user source system`, sorted.
    pub(crate) fn stewards(&self) -> Vec<String> {
        self.rows(
            "SELECT monitor_config_key || ' ' || user_id || ' ' || source
                 || coalesce(' ' || source_system_id, '')
             FROM monitor_stewards ORDER BY 1",
        )
    }

    /// Every row of the application's state, derived and not, to compare two databases.
    pub(crate) fn everything(&self) -> Vec<String> {
        self.rows(STATE)
    }

    /// How many lines are dealt with; none before there is a database with tables.
    pub(crate) fn lines_done(&self) -> i64 {
        if self.location().is_missing() {
            return 0;
        }
        self.with_connection(async |connection| {
            sqlx::query_scalar("SELECT lines FROM replay_progress")
                .fetch_optional(connection)
                .await
                .ok()
                .flatten()
                .unwrap_or(0)
        })
    }

    pub(crate) fn with_connection<R>(&self, act: impl AsyncFnOnce(&mut Connection) -> R) -> R {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut connection = self.database.connect().await;
            let result = act(&mut connection).await;
            connection.close().await.unwrap();
            result
        })
    }
}
