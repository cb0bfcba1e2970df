//! What the tests of the outbox start, kill and stop: a publisher, or a relay.
//!
//! `outbox-program publish URL PUBLISHER UNTIL` commits numbers, one per transaction, up to one.
//! `outbox-program relay URL FILE` sends them to a file, one line for each task, until its standard
//! input closes. With `DIE_AFTER_SENDS` it dies when it has sent so many batches, before it records
//! the last.
#![allow(clippy::print_stdout, reason = "its parent waits for the line `ready`")]

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use events_core::prelude::*;
use events_core::transport::{Transport, TransportError, Unsent};
use events_core::{Forwarding, Outbox, Task};
use events_runtime::Relay;
use events_sqlx::{PostgresQueueOptions, SqliteQueueOptions};
use tokio::io::AsyncReadExt;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A number was committed.
#[derive(Event)]
struct Counted {
    publisher: i64,
    number: i64,
}

#[subscribes_to(Counted, queue = "elsewhere", freshness_only)]
fn count(_: Counted) {}

/// Appends a line for each task, all of a batch at once.
struct Lines {
    file: File,
    dies_after: Option<usize>,
    sends: AtomicUsize,
}

impl Transport for Lines {
    async fn send(&self, tasks: Vec<Task>) -> Result<(), TransportError> {
        let mut lines = String::new();
        for task in &tasks {
            writeln!(lines, "{} {} {}", task.id, task.event_id, task.payload)
                .expect("writing to a string cannot fail");
        }
        if let Err(error) = (&self.file).write_all(lines.as_bytes()) {
            return TransportError::check(Unsent::all_later(tasks, error));
        }
        let sends = self.sends.fetch_add(1, Ordering::SeqCst) + 1;
        if self.dies_after == Some(sends) {
            std::process::abort();
        }
        Ok(())
    }
}

async fn relay(queue: impl Outbox, file: &str) -> Result<(), Error> {
    let dies_after = std::env::var("DIE_AFTER_SENDS").ok();
    let lines = Lines {
        file: OpenOptions::new().create(true).append(true).open(file)?,
        dies_after: dies_after.map(|sends| sends.parse()).transpose()?,
        sends: AtomicUsize::new(0),
    };
    let closed = async {
        tokio::io::stdin().read_to_end(&mut Vec::new()).await.ok();
    };
    let relay = Relay::new(queue, lines).batch(20).lease(Duration::from_millis(600));
    Ok(relay.run_until(closed).await?)
}

const TABLE: &str =
    "CREATE TABLE IF NOT EXISTS progress (publisher bigint NOT NULL, number bigint NOT NULL)";

/// Commits one number after the other, each with its event. Where it was killed it goes on.
macro_rules! publish {
    ($queue:expr, $publisher:expr, $until:expr) => {{
        let (queue, publisher): (_, i64) = ($queue, $publisher);
        loop {
            let mut session = queue.begin().await?;
            let number: i64 = sqlx::query_scalar(
                "SELECT coalesce(max(number), 0) + 1 FROM progress WHERE publisher = $1",
            )
            .bind(publisher)
            .fetch_one(session.connection())
            .await?;
            if number > $until {
                return Ok(());
            }
            sqlx::query("INSERT INTO progress (publisher, number) VALUES ($1, $2)")
                .bind(publisher)
                .bind(number)
                .execute(session.connection())
                .await?;
            let event = Counted { publisher, number };
            events_core::unchecked::publish_after_commit(&mut session, event)?;
            session.commit().await?;
        }
    }};
}

macro_rules! run {
    ($queue:expr, $arguments:expr) => {{
        let queue = $queue;
        // Of two that create it at the same moment, PostgreSQL refuses one.
        let created = sqlx::raw_sql(TABLE).execute(queue.pool()).await;
        if created.is_err() {
            sqlx::raw_sql(TABLE).execute(queue.pool()).await?;
        }
        println!("ready");
        match $arguments {
            ["publish", _, publisher, until] => {
                let until: i64 = until.parse()?;
                publish!(queue, publisher.parse()?, until)
            }
            ["relay", _, file] => relay(queue, file).await,
            _ => Err("usage: outbox-program publish|relay URL …".into()),
        }
    }};
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let events = Events::builder().build()?;
    let forwarding = Forwarding::outbox(Queues::only(["elsewhere"]));
    let [_, url, ..] = arguments.as_slice() else {
        return Err("usage: outbox-program publish|relay URL …".into());
    };
    if url.starts_with("postgres") {
        let queue = PostgresQueueOptions::new().forward(forwarding).connect(url, &events).await?;
        run!(queue, arguments.as_slice())
    } else {
        let queue = SqliteQueueOptions::new().forward(forwarding).open(url, &events).await?;
        run!(queue, arguments.as_slice())
    }
}
