//! Runs the program on logs and databases of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tempfile::TempDir;

/// A directory with a log and a database, removed in the end.
pub(crate) struct Workspace {
    directory: TempDir,
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
        Self { directory }
    }

    /// With a log of these lines.
    pub(crate) fn with_lines(lines: &[&str]) -> Self {
        Self::with_log(lines.join("\n") + "\n")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn command(&self, more: &[&str]) -> Command {
        let (log, database) = (self.text("log.jsonl"), self.text("app.db"));
        let mut command = stewardship(&["replay", &log, "--database", &database]);
        command.args(more);
        command
    }

    pub(crate) fn replay(&self) -> Ended {
        self.command(&[]).output().expect("the program starts").into()
    }

    pub(crate) fn reconcile(&self) -> Ended {
        run(&["reconcile", "--database", &self.text("app.db")])
    }

    /// Column one of what this query finds.
    pub(crate) fn rows(&self, sql: &'static str) -> Vec<String> {
        with_connection(&self.path("app.db"), async |connection| {
            sqlx::query_scalar(sql).fetch_all(connection).await.unwrap()
        })
    }

    pub(crate) fn execute(&self, sql: &'static str) -> u64 {
        with_connection(&self.path("app.db"), async |connection| {
            sqlx::query(sql).execute(connection).await.unwrap().rows_affected()
        })
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
        self.rows(
            "SELECT 'user ' || id FROM users
             UNION ALL SELECT 'system ' || id FROM systems
             UNION ALL SELECT 'connection ' || id FROM connection_configs
             UNION ALL SELECT 'manager ' || user_id || ' ' || system_id FROM system_managers
             UNION ALL SELECT 'link ' || system_id || ' ' || connection_config_id
                 FROM system_connection_config_links
             UNION ALL SELECT 'monitor ' || key || ' ' || coalesce(connection_config_id, '-')
                 || ' ' || inherit_system_stewards FROM monitor_configs
             UNION ALL SELECT 'steward ' || monitor_config_key || ' ' || user_id || ' ' || source
                 || ' ' || coalesce(source_system_id, '-') FROM monitor_stewards
             UNION ALL SELECT 'activity ' || monitor_config_key || ' ' || operation_type || ' '
                 || operations FROM monitor_activity
             ORDER BY 1",
        )
    }

    /// How many lines are dealt with; none before there is a database.
    pub(crate) fn lines_done(&self) -> i64 {
        if !self.path("app.db").exists() {
            return 0;
        }
        with_connection(&self.path("app.db"), async |connection| {
            // The tables may not be there yet.
            sqlx::query_scalar("SELECT lines FROM replay_progress")
                .fetch_optional(connection)
                .await
                .ok()
                .flatten()
                .unwrap_or(0)
        })
    }
}

fn with_connection<R>(path: &Path, act: impl AsyncFnOnce(&mut sqlx::SqliteConnection) -> R) -> R {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection =
            SqliteConnectOptions::new().filename(path).connect().await.expect("the database opens");
        let result = act(&mut connection).await;
        connection.close().await.unwrap();
        result
    })
}
