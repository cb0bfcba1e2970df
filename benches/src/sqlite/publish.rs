//! What publishing adds to a transaction: statements, and time.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use events_core::Events;
use events_core::prelude::*;
use events_sqlx::{SqliteQueue, SqliteQueueOptions};
use sqlx::Connection;
use tokio::runtime::Runtime;
use tracing::field::{Field, Visit};

use super::{BULK, MonitorChecked, floor};
use crate::Failed;
use crate::measure::{Rounds, in_turns, per_second, rate};
use crate::report::Report;

const TRANSACTIONS: usize = 3_000;
const BULKS: usize = 20;
const ROUNDS: usize = 7;

/// Writes one row, and publishes as many events, in one session.
#[publishes(MonitorChecked)]
async fn write_and_publish(queue: &SqliteQueue, events: usize) -> Result<(), Failed> {
    let mut session = queue.begin().await?;
    floor::insert_effect(session.connection(), 1).await?;
    for number in 0..events {
        publish_after_commit(&mut session, MonitorChecked::new(number))?;
    }
    session.commit().await?;
    Ok(())
}

pub(crate) fn run(report: &mut Report) -> Result<(), Failed> {
    statements(report)?;
    let runtime = Runtime::new()?;
    let directory = tempfile::tempdir()?;
    let events = super::events()?;
    let queue = runtime.block_on(super::open(&directory.path().join("queue.db"), &events))?;
    let mut bare = runtime.block_on(floor::filled(&directory.path().join("bare.db"), 0))?;
    let mut beside = runtime.block_on(floor::filled(&directory.path().join("beside.db"), 0))?;
    let [bare, bare_publish, silent, publishing] = in_turns(
        ROUNDS,
        [
            &mut || runtime.block_on(bare_transactions(&mut bare, false)),
            &mut || runtime.block_on(bare_transactions(&mut beside, true)),
            &mut || runtime.block_on(transactions(&queue, 0)),
            &mut || runtime.block_on(transactions(&queue, 1)),
        ],
    )?;
    let against = |rounds: &Rounds, floor: &Rounds| {
        format!("{}, {} of the floor", per_second(rounds.median()), rounds.over(floor))
    };
    report.figure("bare begin, insert, commit (floor)", &per_second(bare.median()));
    report.figure("session: begin, insert, commit", &against(&silent, &bare));
    report.figure(
        "bare begin, insert, insert a task, commit (floor)",
        &per_second(bare_publish.median()),
    );
    report.figure("session: begin, insert, publish, commit", &against(&publishing, &bare_publish));
    report.figure(
        "rate with one publish over the rate without",
        &publishing.over(&silent).to_string(),
    );
    let [bulk] = in_turns(ROUNDS, [&mut || runtime.block_on(bulk(&directory, &events))])?;
    report.figure("1,000 events in one transaction", &per_second(bulk.median()));
    Ok(())
}

async fn bare_transactions(
    connection: &mut sqlx::SqliteConnection,
    with_task: bool,
) -> Result<f64, Failed> {
    let started = Instant::now();
    for _ in 0..TRANSACTIONS {
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        floor::insert_effect(&mut transaction, 1).await?;
        if with_task {
            floor::insert_task(&mut transaction).await?;
        }
        transaction.commit().await?;
    }
    Ok(rate(TRANSACTIONS, started))
}

async fn transactions(queue: &SqliteQueue, events: usize) -> Result<f64, Failed> {
    let started = Instant::now();
    for _ in 0..TRANSACTIONS {
        write_and_publish(queue, events).await?;
    }
    Ok(rate(TRANSACTIONS, started))
}

async fn bulk(directory: &tempfile::TempDir, events: &Events) -> Result<f64, Failed> {
    let queue = super::open(&directory.path().join("bulk.db"), events).await?;
    let started = Instant::now();
    super::publish_checked(&queue, BULKS * BULK).await?;
    Ok(rate(BULKS * BULK, started))
}

/// Counts in a process of its own: sqlx tells its statements to the process's one log.
fn statements(report: &mut Report) -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let output = Command::new(std::env::current_exe()?)
        .arg("statements-child")
        .arg(directory.path().join("app.db"))
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    if !output.status.success() {
        return Err(format!("the process that counts statements ended with: {text}").into());
    }
    let mut counted = Vec::new();
    for line in text.lines() {
        let (what, counts) = line.split_once('\t').ok_or("a count is a name, a tab and counts")?;
        let numbers: Vec<usize> =
            counts.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [statements, round_trips] = numbers[..] else {
            return Err("a count is of statements and round trips".into());
        };
        report.figure(what, &format!("{statements} statements, {round_trips} round trips"));
        counted.push(statements);
    }
    let (silent, most) = (counted[1], counted.iter().max().copied().unwrap_or_default());
    let added = most - silent;
    report.target("statements that publishing adds", &added.to_string(), "at most 1", added <= 1);
    Ok(())
}

/// The process that counts.
pub(crate) fn count_statements(path: &str) -> Result<(), Failed> {
    let log = StatementLog::default();
    tracing::subscriber::set_global_default(log.clone())?;
    let counts = Runtime::new()?.block_on(async {
        let events = super::events()?;
        // One connection, so that its thread has logged everything when it answers a ping.
        let queue =
            SqliteQueueOptions::new().max_connections(1).open(Path::new(path), &events).await?;
        sqlx::query(floor::EFFECTS).execute(queue.pool()).await?;
        queue.pool().acquire().await?.ping().await?;
        let mut counts = Vec::new();
        log.take();
        let mut bare = queue.pool().acquire().await?;
        let mut transaction = bare.begin_with("BEGIN IMMEDIATE").await?;
        floor::insert_effect(&mut transaction, 1).await?;
        transaction.commit().await?;
        bare.ping().await?;
        counts.push(("bare transaction with one insert".to_owned(), log.take()));
        drop(bare);
        for published in [0, 1, 2, 100] {
            write_and_publish(&queue, published).await?;
            queue.pool().acquire().await?.ping().await?;
            let what = format!("session with one insert and {published} events published");
            counts.push((what, log.take()));
        }
        Ok::<_, Failed>(counts)
    })?;
    for (what, sent) in counts {
        let statements: usize = sent.iter().map(|sql| parts(sql)).sum();
        println!("{what}\t{statements} {}", sent.len());
    }
    Ok(())
}

/// The statements of one text.
fn parts(sql: &str) -> usize {
    sql.split(';').filter(|part| !part.trim().is_empty()).count()
}

/// Collects what sqlx logs.
#[derive(Debug, Clone, Default)]
struct StatementLog(Arc<Mutex<Vec<String>>>);

impl StatementLog {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl tracing::Subscriber for StatementLog {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "sqlx::query"
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut statement = Statement::default();
        event.record(&mut statement);
        let Statement { summary, whole } = statement;
        let sql = if whole.is_empty() { summary } else { whole };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(sql);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// One logged statement: its first words, and the whole if it is longer.
#[derive(Default)]
struct Statement {
    summary: String,
    whole: String,
}

impl Visit for Statement {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "summary" => value.clone_into(&mut self.summary),
            "db.statement" => value.trim().clone_into(&mut self.whole),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}
