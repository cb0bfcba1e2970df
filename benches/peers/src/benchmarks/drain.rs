//! How fast one worker empties a queue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{argument, everyone, figure, fill, finished, of_floor, ours_and, report_failures};
use crate::Failed;
use crate::contenders::{self, FLOOR, OURS, OWN_TABLE, PEERS, Queue, TRANSACTIONAL_PEERS};
use crate::handled;
use crate::job::{EFFECTS, Handler};
use crate::measure::{Of, per_second, processor_seconds, rate};
use crate::report::Report;
use crate::slices::{Harness, Slice, Turns};

const TASKS: u64 = 200_000;
const RECORDED: u64 = 10_000;
const ROUNDS: usize = 3;
const LIMIT: Duration = Duration::from_mins(2);
const TARGET: f64 = 0.8;
const TARGET_OVER_PEERS: f64 = 1.5;
const TRANSACTIONAL_TARGET: f64 = 0.7;
/// Handlers at once where each has a transaction.
const RECORDERS: u32 = 16;

pub(super) async fn slice(contender: &str, url: &str, arguments: &[&str]) -> Result<(), Failed> {
    let tasks: u64 = argument(arguments, 0)?;
    let (handler, lanes) = match argument::<String>(arguments, 1)?.as_str() {
        "record" => (Handler::Record, RECORDERS),
        _ => (Handler::Ignore, super::FILLERS),
    };
    let queue: Arc<dyn Queue> = contenders::open(contender, url, lanes).await?.into();
    create_effects(url).await?;
    fill(&queue, tasks, handler).await?;
    super::settle_down(url).await?;
    let processor = processor_seconds(Of::ThisProcess).unwrap_or(f64::NAN);
    let started = Instant::now();
    let worker = queue.work(handler).await?;
    handled::wait_for(tasks).await?;
    finished(queue.as_ref(), url).await?;
    figure("rate", rate(usize::try_from(tasks)?, started));
    let used = processor_seconds(Of::ThisProcess).unwrap_or(f64::NAN) - processor;
    figure("processor", used * 1e6 / tasks as f64);
    worker.stop().await
}

async fn create_effects(url: &str) -> Result<(), Failed> {
    use sqlx::Connection;
    let mut connection = sqlx::PgConnection::connect(url).await?;
    sqlx::raw_sql(EFFECTS).execute(&mut connection).await?;
    Ok(connection.close().await?)
}

pub(super) async fn run(harness: &Harness, report: &mut Report) -> Result<(), Failed> {
    let tasks = harness.scaled(TASKS, 10_000);
    let mut contenders = everyone();
    contenders.insert(1, OWN_TABLE);
    let turns = harness
        .turns(ROUNDS, &contenders, |contender| Slice {
            benchmark: "drain",
            // sqlxmq needs a minute for each 200,000, and another to publish them.
            arguments: vec![
                (if contender == "sqlxmq" { tasks / 10 } else { tasks }).to_string(),
                "ignore".into(),
            ],
            limit: LIMIT,
        })
        .await?;
    let what = format!("bare claim of 500 and delete, {tasks} tasks (floor)");
    report.figure(&what, &alone(&turns, FLOOR));
    report_ours(&turns, TARGET, report);
    for contender in contenders.iter().filter(|contender| **contender != OURS) {
        report.figure(&format!("  {contender}"), &beside(&turns, contender));
    }
    if let (Some(ours), Some(fastest)) = (median(&turns, OURS), fastest_peer(&turns)) {
        let ratio = ours / fastest;
        let figure = format!("{ratio:.2}");
        report.target(
            "events over the fastest peer",
            &figure,
            "at least 1.5",
            ratio >= TARGET_OVER_PEERS,
        );
    }
    if let (Some(ours), Some(own)) = (turns.of(OURS, "rate"), turns.of(OWN_TABLE, "rate")) {
        report.figure("events over the bare loop on its own table", &ours.over(&own).to_string());
    }
    report_failures(&turns, report);
    Ok(())
}

pub(super) async fn run_transactional(
    harness: &Harness,
    report: &mut Report,
) -> Result<(), Failed> {
    let tasks = harness.scaled(RECORDED, 1_000);
    let contenders = ours_and(TRANSACTIONAL_PEERS);
    let turns = harness
        .turns(ROUNDS, &contenders, |_| Slice {
            benchmark: "drain",
            arguments: vec![tasks.to_string(), "record".into()],
            limit: LIMIT,
        })
        .await?;
    let what = format!("bare begin, delete, insert, commit, {tasks} tasks, 16 at once (floor)");
    report.figure(&what, &alone(&turns, FLOOR));
    report_ours(&turns, TRANSACTIONAL_TARGET, report);
    for contender in TRANSACTIONAL_PEERS {
        report.figure(&format!("  {contender}"), &beside(&turns, contender));
    }
    report_failures(&turns, report);
    Ok(())
}

fn report_ours(turns: &Turns, target: f64, report: &mut Report) {
    if let Some((_, ratio)) = of_floor(turns, OURS, "rate") {
        let wanted = format!("at least {target}");
        report.target("  events", &beside(turns, OURS), &wanted, ratio.median() >= target);
    }
}

fn median(turns: &Turns, contender: &str) -> Option<f64> {
    Some(turns.of(contender, "rate")?.median())
}

fn fastest_peer(turns: &Turns) -> Option<f64> {
    PEERS.iter().filter_map(|peer| median(turns, peer)).max_by(f64::total_cmp)
}

fn alone(turns: &Turns, contender: &str) -> String {
    let (rate, processor) = match contender {
        FLOOR => (turns.floor("rate"), turns.floor("processor")),
        other => match (turns.of(other, "rate"), turns.of(other, "processor")) {
            (Some(rate), Some(processor)) => (rate, processor),
            _ => return "never finished".into(),
        },
    };
    format!("{}, {:.1} µs of processor each", per_second(rate.median()), processor.median())
}

fn beside(turns: &Turns, contender: &str) -> String {
    match turns.over_floor(contender, "rate") {
        Some(ratio) => format!("{}; {ratio} of the floor", alone(turns, contender)),
        None => "never finished".into(),
    }
}
