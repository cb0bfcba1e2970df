//! What is measured: each in two halves, the slices of one contender and the report on all.

mod backlog;
mod bulk;
mod bytes;
mod drain;
mod latency;
mod single;
mod snapshot;
mod worker;

use std::sync::Arc;

use sqlx::{Connection, PgConnection};

pub(crate) use self::worker::{parent_ends, run as worker};
use crate::Failed;
use crate::contenders::{OURS, PEERS, Queue};
use crate::job::Handler;
use crate::measure::{Ratio, Rounds};
use crate::report::Report;
use crate::slices::{Harness, Turns};

pub(crate) const NAMES: [&str; 9] = [
    "drain",
    "single",
    "bulk",
    "latency",
    "sustained",
    "transactional",
    "backlog",
    "bytes",
    "snapshot",
];

/// As many as one transaction publishes where bulk is meant.
const BULK: u64 = 1_000;
/// The lanes that fill a queue before it is measured.
const FILLERS: u32 = 4;

/// Measures a benchmark and reports it.
pub(crate) async fn run(name: &str, harness: &Harness, report: &mut Report) -> Result<(), Failed> {
    match name {
        "drain" => drain::run(harness, report).await,
        "single" => single::run(harness, report).await,
        "bulk" => bulk::run(harness, report).await,
        "latency" => latency::run(harness, report).await,
        "sustained" => latency::run_sustained(harness, report).await,
        "transactional" => drain::run_transactional(harness, report).await,
        "backlog" => backlog::run(harness, report).await,
        "bytes" => bytes::run(harness, report).await,
        "snapshot" => snapshot::run(harness, report).await,
        other => Err(format!("{other} is no benchmark").into()),
    }
}

/// One slice of a benchmark: prints its figures.
pub(crate) async fn slice(
    benchmark: &str,
    contender: &str,
    url: &str,
    arguments: &[&str],
) -> Result<(), Failed> {
    match benchmark {
        "drain" => drain::slice(contender, url, arguments).await,
        "single" => single::slice(contender, url, arguments).await,
        "bulk" => bulk::slice(contender, url, arguments).await,
        "latency" => latency::slice(contender, url, arguments).await,
        "sustained" => latency::sustained_slice(contender, url, arguments).await,
        "backlog" => backlog::slice(url, arguments).await,
        "bytes" => bytes::slice(contender, url, arguments).await,
        "snapshot" => snapshot::slice(url, arguments).await,
        other => Err(format!("{other} has no slices").into()),
    }
}

/// This project, then those it is compared with.
fn ours_and<const N: usize>(others: [&'static str; N]) -> Vec<&'static str> {
    std::iter::once(OURS).chain(others).collect()
}

fn everyone() -> Vec<&'static str> {
    ours_and(PEERS)
}

/// Prints what a slice measured.
fn figure(name: &str, value: f64) {
    println!("{name}\t{value}");
}

/// Argument `at` of a slice.
fn argument<T: std::str::FromStr>(arguments: &[&str], at: usize) -> Result<T, Failed> {
    let text = arguments.get(at).ok_or("a slice is given its arguments")?;
    text.parse().map_err(|_| format!("{text} is no argument of this slice").into())
}

/// Publishes in transactions of [`BULK`], on [`FILLERS`] lanes: some peers insert row by row.
async fn fill(queue: &Arc<dyn Queue>, tasks: u64, handler: Handler) -> Result<(), Failed> {
    let mut fillers = Vec::new();
    for lane in 0..FILLERS as usize {
        let queue = Arc::clone(queue);
        let firsts = (0..tasks).step_by(usize::try_from(BULK)?);
        let firsts = firsts.skip(lane).step_by(FILLERS as usize);
        fillers.push(tokio::spawn(async move {
            for first in firsts {
                queue.publish_many(lane, first..tasks.min(first + BULK), handler).await?;
            }
            Ok::<_, Failed>(())
        }));
    }
    for filler in fillers {
        filler.await??;
    }
    Ok(())
}

/// What a server does by itself after a while, done now: the planner knows the tables, and neither
/// a vacuum nor a checkpoint falls into the measurement.
async fn settle_down(url: &str) -> Result<(), Failed> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql("VACUUM ANALYZE").execute(&mut connection).await?;
    sqlx::raw_sql("CHECKPOINT").execute(&mut connection).await?;
    Ok(connection.close().await?)
}

/// Waits until every task is completed.
async fn finished(queue: &dyn Queue, url: &str) -> Result<(), Failed> {
    let mut connection = PgConnection::connect(url).await?;
    while sqlx::query_scalar(queue.unfinished()).fetch_one(&mut connection).await? {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    Ok(())
}

/// The most memory this process ever had, in MiB.
fn peak_memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kibibytes.map_or(f64::NAN, |kibibytes| kibibytes / 1024.0)
}

/// A contender's rates, and what they are of the floor's.
fn of_floor(turns: &Turns, contender: &str, figure: &str) -> Option<(Rounds, Ratio)> {
    Some((turns.of(contender, figure)?, turns.over_floor(contender, figure)?))
}

/// Reports what did not finish.
fn report_failures(turns: &Turns, report: &mut Report) {
    for (contender, failure) in &turns.failures {
        report.figure(&format!("  {contender}, a slice"), failure);
    }
}
