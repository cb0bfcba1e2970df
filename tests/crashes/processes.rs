//! Child processes on one database, and what the test sees of it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use events_core::Registry;
use events_core::broker::Admin;
use events_core::prelude::*;
use events_sqlx::SqliteQueue;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

/// Longer than anything here takes, on a slow machine; reached only by a bug.
const PATIENCE: Duration = Duration::from_mins(2);

pub struct Process {
    child: Child,
    /// Kept open: a worker stops when it closes.
    input: Option<ChildStdin>,
}

impl Process {
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it was not waited for")
    }

    /// Whether it ends by itself, with success.
    pub async fn ends(&mut self) -> bool {
        tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it ends").unwrap().success()
    }

    /// Whether it ends by itself, without success.
    pub async fn dies(&mut self) -> bool {
        !self.ends().await
    }

    pub async fn kill(&mut self) {
        self.child.kill().await.expect("it can be killed");
    }

    pub async fn close_input_and_end(&mut self) -> bool {
        self.input = None;
        self.ends().await
    }

    pub fn signal(&self, signal: &str) {
        let status = std::process::Command::new("kill")
            .args([format!("-{signal}"), self.pid().to_string()])
            .status()
            .expect("kill runs");
        assert!(status.success());
    }

    /// Waits until it says that it has opened the database.
    pub async fn ready(&mut self) {
        let mut lines = BufReader::new(self.child.stdout.take().expect("asked once")).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("it speaks");
        assert_eq!(line.unwrap().as_deref(), Some("ready"));
    }
}

pub fn start_program(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Process {
    start(Command::new(program).args(arguments).envs(environment.iter().copied()))
}

/// Starts a program that ends when its standard input is closed.
pub fn start(command: &mut Command) -> Process {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the program starts");
    let input = child.stdin.take();
    Process { child, input }
}

pub fn start_on(database: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Process {
    start(
        Command::new(env!("CARGO_BIN_EXE_crash-program"))
            .arg(arguments[0])
            .arg(database)
            .args(&arguments[1..])
            .envs(environment.iter().copied()),
    )
}

pub struct World {
    pub folder: tempfile::TempDir,
    pub queue: SqliteQueue,
}

impl World {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // The test itself only looks; it knows no subscribers and runs no worker.
        let registry = Registry::builder().build().unwrap();
        let events = Events::builder().registry(registry).build().unwrap();
        let queue = SqliteQueue::open(folder.path().join("crash.db"), &events).await.unwrap();
        Self { folder, queue }
    }

    pub fn start(&self, arguments: &[&str]) -> Process {
        self.start_with(arguments, &[])
    }

    pub fn start_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Process {
        start_on(&self.folder.path().join("crash.db"), arguments, environment)
    }

    pub async fn count(&self, kind: &str, number: i64) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM effects WHERE kind = ? AND number = ?")
            .bind(kind)
            .bind(number)
            .fetch_one(self.queue.pool())
            .await
            .unwrap()
    }

    /// Waits until the effect is there that often.
    pub async fn awaits(&self, kind: &str, number: impl Into<i64>, times: i64) {
        let number = number.into();
        let there = async {
            while self.count_if_there(kind, number).await < times {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, there).await.expect("the effect appears");
    }

    /// Zero also while the program has not created its tables yet.
    async fn count_if_there(&self, kind: &str, number: i64) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM effects WHERE kind = ? AND number = ?")
            .bind(kind)
            .bind(number)
            .fetch_one(self.queue.pool())
            .await
            .unwrap_or(0)
    }

    /// Waits until nothing waits and nothing runs.
    pub async fn drained(&self) {
        let drained = async {
            while !self.queue.counts().await.unwrap().is_drained() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, drained).await.is_ok();
        assert!(in_time, "not drained: {:?}", self.queue.counts().await);
    }

    /// Every order was booked exactly once and confirmed at least once.
    pub async fn assert_every_order_has_its_effects(&self, orders: i64) {
        let per_order = "SELECT o.number, \
             (SELECT count(*) FROM effects WHERE kind = 'booked' AND number = o.number), \
             (SELECT count(*) FROM effects WHERE kind = 'confirmed' AND number = o.number) \
             FROM orders o";
        // Two index-free counts per order are slow for many orders.
        sqlx::query("CREATE INDEX IF NOT EXISTS effects_by_order ON effects (kind, number)")
            .execute(self.queue.pool())
            .await
            .unwrap();
        let rows: Vec<(i64, i64, i64)> =
            sqlx::query_as(per_order).fetch_all(self.queue.pool()).await.unwrap();
        assert_eq!(rows.len(), usize::try_from(orders).unwrap(), "each order once");
        for (number, booked, confirmed) in rows {
            assert_eq!(booked, 1, "order {number} is booked exactly once");
            assert!(confirmed >= 1, "order {number} is confirmed at least once");
        }
    }
}
