//! What the tests with Celery's queues start, kill and stop: a program that publishes to Redis, or works.
//!
//! `celery-program work …` handles tasks until its standard input closes, and adds a line to a file at
//! the beginning and at the end of every execution. `celery-program publish …` publishes numbered tasks
//! and adds a line to a file for each that Redis has acknowledged.
#![allow(clippy::print_stdout, reason = "its parent waits for the line `ready`")]
#![allow(clippy::needless_pass_by_value, reason = "handlers take their arguments by value")]

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser};
use events_celery::{CeleryBroker, CeleryOptions, CelerySession};
use events_core::Broker;
use events_core::prelude::*;
use events_runtime::Worker;
use tokio::io::AsyncReadExt;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A task was given.
#[derive(Event)]
struct TaskGiven {
    number: u32,
    /// How long it takes, in milliseconds.
    takes: u64,
    /// How many attempts at it fail.
    fails: u32,
}

/// Something was given that kills whoever handles it.
#[derive(Event)]
struct PoisonGiven {
    number: u32,
}

/// A file to whose end a line is added in one write, so that those of several processes do not mix.
#[derive(Debug, Clone)]
struct Lines(Arc<File>);

impl Lines {
    fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self(Arc::new(OpenOptions::new().create(true).append(true).open(path)?)))
    }

    fn add(&self, line: &str) -> std::io::Result<()> {
        (&*self.0).write_all(format!("{line}\n").as_bytes())
    }

    fn add_execution(&self, moment: &str, number: u32, task: &TaskContext) -> std::io::Result<()> {
        let (process, attempt, event) = (std::process::id(), task.attempt(), task.event_id());
        self.add(&format!("{moment} {number} {attempt} {process} {event}"))
    }
}

#[subscribes_to(TaskGiven, name = "program.record", freshness_only, retry_backoff = "20ms..100ms")]
async fn record(event: TaskGiven, task: TaskContext, lines: State<Lines>) -> Result<(), Failure> {
    lines.add_execution("began", event.number, &task)?;
    tokio::time::sleep(Duration::from_millis(event.takes)).await;
    if task.attempt() <= event.fails {
        return Err(Failure::retry("this attempt is to fail"));
    }
    lines.add_execution("ended", event.number, &task)?;
    Ok(())
}

#[subscribes_to(
    PoisonGiven,
    name = "program.swallow",
    freshness_only,
    max_retries = 2,
    retry_backoff = "10ms..20ms"
)]
fn swallow(event: PoisonGiven, task: TaskContext, lines: State<Lines>) -> Result<(), Failure> {
    lines.add_execution("began", event.number, &task)?;
    std::process::abort();
}

#[publishes(TaskGiven, PoisonGiven)]
fn give(
    session: &mut CelerySession,
    number: u32,
    publish: &Publish,
) -> Result<EventId, PublishError> {
    match publish.poison {
        true => publish_after_commit(session, PoisonGiven { number }),
        false => {
            let (takes, fails) = (publish.takes, publish.fails);
            publish_after_commit(session, TaskGiven { number, takes, fails })
        }
    }
}

#[derive(Parser)]
enum Arguments {
    Work(Work),
    Publish(Publish),
}

#[derive(Args)]
struct Fleet {
    /// The URL of Redis.
    #[arg(long)]
    redis: String,
    /// The prefix of all keys.
    #[arg(long)]
    prefix: String,
    /// The queue.
    #[arg(long)]
    queue: String,
    /// The file that lines are added to.
    #[arg(long)]
    lines: PathBuf,
    /// The lease, in milliseconds.
    #[arg(long, default_value_t = 1_000)]
    lease: u64,
    /// The visibility timeout, in milliseconds.
    #[arg(long, default_value_t = 3_600_000)]
    visibility: u64,
    /// Workers in Python serve the queue too.
    #[arg(long)]
    shared: bool,
}

#[derive(Args)]
struct Work {
    #[command(flatten)]
    fleet: Fleet,
    #[arg(long, default_value_t = 4)]
    concurrency: usize,
    #[arg(long)]
    prefetch: Option<usize>,
}

#[derive(Args)]
struct Publish {
    #[command(flatten)]
    fleet: Fleet,
    #[arg(long, default_value_t = 1)]
    from: u32,
    #[arg(long)]
    to: u32,
    /// How many in one commit.
    #[arg(long, default_value_t = 1)]
    batch: u32,
    /// Between two commits, in milliseconds.
    #[arg(long, default_value_t = 0)]
    pause: u64,
    #[arg(long, default_value_t = 0)]
    takes: u64,
    #[arg(long, default_value_t = 0)]
    fails: u32,
    /// Kills whoever handles it.
    #[arg(long)]
    poison: bool,
}

impl Fleet {
    async fn connect(&self) -> Result<CeleryBroker, Error> {
        let lease = Duration::from_millis(self.lease);
        let settings =
            EventSettings { lease, default_queue: self.queue.clone(), ..EventSettings::default() };
        let events = Events::builder().settings(settings).build()?;
        let mut options = CeleryOptions::new()
            .key_prefix(&self.prefix)
            .visibility_timeout(Duration::from_millis(self.visibility));
        if self.shared {
            options = options.shared_queues([self.queue.clone()]);
        }
        Ok(options.connect(&self.redis, &events).await?)
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Error> {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let ended = match Arguments::parse() {
        Arguments::Work(arguments) => work(arguments).await,
        Arguments::Publish(arguments) => publish(arguments).await,
    };
    // Not by returning, which would wait for the thread that reads standard input.
    if let Err(error) = ended {
        tracing::error!(%error, "the program failed");
        std::process::exit(1);
    }
    std::process::exit(0)
}

async fn closed() {
    tokio::io::stdin().read_to_end(&mut Vec::new()).await.ok();
}

async fn work(arguments: Work) -> Result<(), Error> {
    let broker = arguments.fleet.connect().await?;
    let mut worker = Worker::builder(broker.events(), broker.clone())
        .state(Lines::open(&arguments.fleet.lines)?)
        .concurrency(arguments.concurrency);
    if let Some(tasks) = arguments.prefetch {
        worker = worker.prefetch(tasks);
    }
    println!("ready");
    Ok(worker.build()?.run_until(closed()).await?)
}

async fn publish(arguments: Publish) -> Result<(), Error> {
    let broker = arguments.fleet.connect().await?;
    let acknowledged = Lines::open(&arguments.fleet.lines)?;
    println!("ready");
    let publishing = async {
        let mut next = arguments.from;
        while next <= arguments.to {
            let last = (next + arguments.batch - 1).min(arguments.to);
            let mut session = broker.begin();
            for number in next..=last {
                give(&mut session, number, &arguments)?;
            }
            // Of those that failed only Redis knows; they are not given again.
            if session.commit().await.is_ok() {
                let numbers: Vec<_> = (next..=last).map(|number| number.to_string()).collect();
                acknowledged.add(&numbers.join("\n"))?;
            }
            next = last + 1;
            tokio::time::sleep(Duration::from_millis(arguments.pause)).await;
        }
        Ok(())
    };
    tokio::select! {
        done = publishing => done,
        () = closed() => Err("the test has ended".into()),
    }
}
