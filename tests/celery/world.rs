//! A fleet of its own for each test: a prefix on a Redis, and who is on it.

use std::fs;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use celery_fleet::{Fleet, Pool, Version, WorkerSettings};
use events_celery::{CeleryBroker, CeleryOptions};
use events_core::Events;
use events_core::broker::{Admin, Broker, DeadLetter};
use private_redis::Server;
use tokio::process::Command;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::crashes::processes::{Process, start};

/// Longer than anything here takes, on a slow machine; reached only by a bug.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// The queue of the program's tasks.
pub const TASKS: &str = "tasks";

pub struct World {
    url: String,
    pub prefix: String,
    folder: tempfile::TempDir,
}

/// An execution by the program `celery-program`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// Whether this tells of its end.
    pub ended: bool,
    pub number: u32,
    pub attempt: u32,
    pub process: u32,
    pub event_id: String,
}

impl World {
    /// On the Redis of this program.
    pub fn new() -> Self {
        Self::on(Server::shared())
    }

    /// On a Redis that the test may stop.
    pub fn on(server: &Server) -> Self {
        let prefix = format!("{}:", events_core::TaskId::generate());
        Self { url: server.url(), prefix, folder: tempfile::tempdir().expect("a folder") }
    }

    pub fn options(&self) -> CeleryOptions {
        CeleryOptions::new().key_prefix(&self.prefix)
    }

    pub async fn broker(&self, events: &Events) -> CeleryBroker {
        self.broker_with(self.options(), events).await
    }

    pub async fn broker_with(&self, options: CeleryOptions, events: &Events) -> CeleryBroker {
        options.connect(&self.url, events).await.expect("Redis is there")
    }

    /// Celery with the same prefix, that looks for lapsed messages every second if it can.
    pub fn fleet(&self, version: Version) -> Fleet {
        Fleet::python(version, &self.url)
            .transport_option("global_keyprefix", &*self.prefix)
            .transport_option("unacked_restore_interval", 1)
            .transport_option("unacked_restore_throttle", 1)
            .set("worker_prefetch_multiplier", 1)
            .set("task_acks_late", true)
            .tasks(["program.record", "shop.take_order"])
    }

    /// Runs `redis-cli` and returns its lines; `{}` in an argument is the prefix.
    pub fn redis(&self, arguments: &[&str]) -> Vec<String> {
        let arguments: Vec<_> =
            arguments.iter().map(|argument| argument.replace("{}", &self.prefix)).collect();
        let output = std::process::Command::new("redis-cli")
            .args(["-e", "-u", &self.url])
            .args(&arguments)
            .output()
            .expect("redis-cli runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{arguments:?}: {text}");
        text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    /// What everybody of the fleet holds.
    pub fn held(&self) -> Vec<String> {
        self.redis(&["HVALS", "{}unacked"])
    }

    /// Whether this one of what is held, the oldest being 0, is older than a visibility timeout.
    pub fn has_lapsed(&self, which: usize, timeout: Duration) -> bool {
        let which = which.to_string();
        let held = self.redis(&["ZRANGE", "{}unacked_index", &which, &which, "WITHSCORES"]);
        let since: f64 = held.get(1).expect("it is held").parse().expect("seconds");
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("it is after 1970");
        now.as_secs_f64() > since + timeout.as_secs_f64()
    }

    /// For a failure: what there is of these tasks in Redis.
    pub fn whereabouts(&self, numbers: &[u32]) -> String {
        let held = self.redis(&["HGETALL", "{}unacked"]);
        let dead = self.redis(&["HVALS", "{}events:dead"]);
        let waiting = self.redis(&["LLEN", &format!("{{}}{TASKS}")]);
        format!("lost: {numbers:?}; waiting: {waiting:?}; held: {held:?}; dead: {dead:?}")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts the program: `work` or `publish`, with these arguments, on the queue [`TASKS`].
    pub fn program(&self, role: &str, arguments: &str) -> Process {
        let lines = if role == "work" { "executions" } else { "acknowledged" };
        start(
            Command::new(env!("CARGO_BIN_EXE_celery-program"))
                .arg(role)
                .args(["--redis", &self.url, "--prefix", &self.prefix, "--queue", TASKS])
                .arg("--lines")
                .arg(self.file(lines))
                .args(arguments.split_whitespace())
                .stderr(std::process::Stdio::null()),
        )
    }

    /// Has the program publish and end.
    pub async fn publish(&self, arguments: &str) {
        assert!(self.program("publish", arguments).ends().await, "it publishes");
    }

    /// The numbers of the tasks that the program has published for certain.
    pub fn acknowledged(&self) -> Vec<u32> {
        let lines = fs::read_to_string(self.file("acknowledged")).unwrap_or_default();
        lines.lines().map(|line| line.parse().expect("a number")).collect()
    }

    /// What the program has executed, in order.
    pub fn executions(&self) -> Vec<Execution> {
        let text = fs::read_to_string(self.file("executions")).unwrap_or_default();
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        lines
            .map(|line| {
                let parts: Vec<_> = line.split_whitespace().collect();
                let [moment, number, attempt, process, event_id] = parts[..] else {
                    panic!("not a line of the program: {line}")
                };
                Execution {
                    ended: moment == "ended",
                    number: number.parse().unwrap(),
                    attempt: attempt.parse().unwrap(),
                    process: process.parse().unwrap(),
                    event_id: event_id.to_owned(),
                }
            })
            .collect()
    }

    /// Waits until the program has written something like this.
    pub async fn awaits(&self, what: &str, wanted: impl Fn(&Execution) -> bool) -> Execution {
        let mut found = None;
        eventually(what, async || {
            found = self.executions().into_iter().find(&wanted);
            found.is_some()
        })
        .await;
        found.unwrap()
    }
}

/// Tells what happened, with `cargo test -- --nocapture`.
#[expect(clippy::print_stdout, reason = "measurements are read by people")]
pub fn report(line: &str) {
    println!("{line}");
}

/// Waits until it has happened.
pub async fn eventually(what: &str, mut happened: impl AsyncFnMut() -> bool) {
    let happening = async {
        while !happened().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, happening).await.unwrap_or_else(|_| panic!("never {what}"));
}

/// Waits until this broker has no task that waits or runs.
pub async fn drained(broker: &CeleryBroker) {
    eventually("drained", async || broker.counts().await.unwrap().is_drained()).await;
}

/// The dead letters, when there are so many.
pub async fn dead_letters(broker: &CeleryBroker, count: usize) -> Vec<DeadLetter> {
    let mut letters = Vec::new();
    eventually("as many dead letters", async || {
        letters = broker.dead_letters(100, None).await.unwrap();
        letters.len() >= count
    })
    .await;
    assert_eq!(letters.len(), count, "{letters:?}");
    letters
}

/// A worker in this process.
pub struct Running {
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

impl Running {
    pub fn start<B: Broker>(worker: events_runtime::Worker<B>) -> Self {
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(async move { worker.run_until(stopped).await.unwrap() });
        Self { stop, ended }
    }

    /// Asks it to stop, at once; the future waits until it has.
    pub fn stop(self) -> impl Future<Output = ()> {
        self.stop.send(()).ok();
        async { self.ended.await.unwrap() }
    }
}

/// A worker of this queue that starts fast and executes one task at a time.
pub fn solo(queue: &str) -> WorkerSettings {
    // Celery multiplies what it takes ahead by the concurrency, though this pool has none.
    let mut settings =
        WorkerSettings { pool: Pool::Solo, concurrency: 1, ..WorkerSettings::of(queue) };
    settings.arguments = ["--without-mingle", "--without-gossip"].map(str::to_owned).into();
    settings
}
