//! From the commit to the start of the handler: with an idle worker, and under a steady load.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use super::worker::Elsewhere;
use super::{argument, everyone, figure, report_failures};
use crate::Failed;
use crate::contenders::{self, OURS, Publish, Queue};
use crate::handled::{self, Start};
use crate::job::Handler;
use crate::measure::Rounds;
use crate::report::Report;
use crate::slices::{Harness, Slice, Turns};

const SAMPLES: u64 = 300;
/// Not counted: connections and caches are warm after them.
const WARM_UP: u64 = 20;
/// Longer than any contender lingers over a batch: it is idle again.
const PAUSE: Duration = Duration::from_millis(10);
const ROUNDS: usize = 3;
const LIMIT: Duration = Duration::from_mins(1);
const RATE: u64 = 1_000;
const SECONDS: u64 = 8;
const LANES: usize = 8;
/// How long after the last publish a handler may start.
const PATIENCE: Duration = Duration::from_secs(15);
const TARGET_MEDIAN: f64 = 1.5;
const TARGET_LATE: f64 = 3.0;

pub(super) async fn slice(contender: &str, url: &str, arguments: &[&str]) -> Result<(), Failed> {
    let samples: u64 = argument(arguments, 0)?;
    let queue = contenders::open(contender, url, 1).await?;
    let [from_begin, from_end] = match argument::<String>(arguments, 1)?.as_str() {
        "other-process" => {
            let (worker, starts) = Elsewhere::start(contender, url).await?;
            let measured = ring(queue.as_ref(), starts, samples).await?;
            worker.stop().await?;
            measured
        }
        _ => {
            let starts = handled::starts();
            let worker = queue.work(Handler::Ignore).await?;
            let measured = ring(queue.as_ref(), starts, samples).await?;
            worker.stop().await?;
            measured
        }
    };
    figure("median", from_end.median());
    figure("late", from_end.quantile(0.99));
    figure("median from begin", from_begin.median());
    figure("late from begin", from_begin.quantile(0.99));
    Ok(())
}

/// Publishes one task at a time, each after the last was started. Milliseconds from the begin of
/// publishing, and from the end of the commit.
async fn ring(
    queue: &dyn Queue,
    mut starts: UnboundedReceiver<Start>,
    samples: u64,
) -> Result<[Rounds; 2], Failed> {
    let mut measured: [Rounds; 2] = Default::default();
    for number in 0..samples + WARM_UP {
        tokio::time::sleep(PAUSE).await;
        let began = handled::now();
        let committing = queue.publish(0, number, Publish::Alone).await?;
        queue.wake(0).await?;
        let start = loop {
            let start = starts.recv().await.ok_or("the worker is gone")?;
            if start.number == number {
                break start;
            }
        };
        if number >= WARM_UP {
            let [from_begin, from_end] = &mut measured;
            from_begin.push(milliseconds(began, start.at));
            from_end.push(milliseconds(committing.committed, start.at));
        }
    }
    Ok(measured)
}

/// Nothing if the handler was started before the publisher was told of its commit.
fn milliseconds(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 1e6
}

pub(super) async fn run(harness: &Harness, report: &mut Report) -> Result<(), Failed> {
    let samples = harness.scaled(SAMPLES, 50);
    for (place, rounds) in [("other-process", ROUNDS), ("same-process", 1)] {
        let turns = harness
            .turns(rounds, &everyone(), |_| Slice {
                benchmark: "latency",
                arguments: vec![samples.to_string(), place.into()],
                limit: LIMIT,
            })
            .await?;
        let what = format!("bare insert, notify, wake, claim (floor), {place}");
        report_latencies(&turns, &what, report);
    }
    Ok(())
}

fn report_latencies(turns: &Turns, floor: &str, report: &mut Report) {
    let times = |of: &dyn Fn(&str) -> Option<Rounds>| {
        let median = |name: &str| of(name).map_or(f64::NAN, |rounds| rounds.median());
        format!(
            "p50 {:.2} ms, p99 {:.2} ms after the commit; {:.2}, {:.2} after its begin",
            median("median"),
            median("late"),
            median("median from begin"),
            median("late from begin"),
        )
    };
    report.figure(floor, &times(&|name| Some(turns.floor(name))));
    for contender in everyone() {
        if turns.of(contender, "median").is_none() {
            continue;
        }
        report.figure(&format!("  {contender}"), &times(&|name| turns.of(contender, name)));
    }
    for (what, figure, target) in [("p50", "median", TARGET_MEDIAN), ("p99", "late", TARGET_LATE)] {
        if let Some(ratio) = turns.over_floor(OURS, figure) {
            let wanted = format!("at most {target}");
            let met = ratio.median() <= target;
            let what = format!("  events, {what} after the commit over the floor's");
            report.target(&what, &ratio.to_string(), &wanted, met);
        }
    }
    report_failures(turns, report);
}

/// Publishes at a steady rate, whether or not the worker keeps up.
pub(super) async fn sustained_slice(
    contender: &str,
    url: &str,
    arguments: &[&str],
) -> Result<(), Failed> {
    let (per_second, seconds) = (argument(arguments, 0)?, argument::<u64>(arguments, 1)?);
    let lanes = u32::try_from(LANES)?;
    let queue: Arc<dyn Queue> = contenders::open(contender, url, lanes).await?.into();
    let (worker, starts) = Elsewhere::start(contender, url).await?;
    let total = per_second * seconds;
    let started = Instant::now();
    let collecting = tokio::spawn(collect(starts, total));
    let mut publishers = Vec::new();
    for lane in 0..LANES {
        let numbers = (lane as u64..total).step_by(LANES);
        let schedule = Schedule { started, per_second };
        publishers.push(tokio::spawn(publish_steadily(
            Arc::clone(&queue),
            lane,
            numbers,
            schedule,
        )));
    }
    let mut committed = Vec::new();
    for publisher in publishers {
        committed.extend(publisher.await??);
    }
    let rate = total as f64 / started.elapsed().as_secs_f64();
    let starts = tokio::time::timeout(PATIENCE, collecting)
        .await
        .map_err(|_| "not every task was started within 15 s of the last")??;
    let mut times = Rounds::default();
    for (number, at) in committed {
        times.push(milliseconds(at, starts.get(&number).copied().unwrap_or(u64::MAX)));
    }
    figure("rate", rate);
    figure("median", times.median());
    figure("late", times.quantile(0.99));
    figure("latest", times.quantile(1.0));
    worker.stop().await?;
    Ok(())
}

#[derive(Debug, Clone, Copy)]
struct Schedule {
    started: Instant,
    per_second: u64,
}

/// When each number was committed.
async fn publish_steadily(
    queue: Arc<dyn Queue>,
    lane: usize,
    numbers: impl Iterator<Item = u64>,
    schedule: Schedule,
) -> Result<Vec<(u64, u64)>, Failed> {
    let mut committed = Vec::new();
    for number in numbers {
        let after = Duration::from_secs(number) / u32::try_from(schedule.per_second)?;
        tokio::time::sleep_until(schedule.started + after).await;
        committed.push((number, queue.publish(lane, number, Publish::Alone).await?.committed));
        queue.wake(lane).await?;
    }
    Ok(committed)
}

/// When each number was first started.
async fn collect(mut starts: UnboundedReceiver<Start>, total: u64) -> HashMap<u64, u64> {
    let mut at = HashMap::new();
    while at.len() as u64 != total {
        let Some(start) = starts.recv().await else { break };
        at.entry(start.number).or_insert(start.at);
    }
    at
}

pub(super) async fn run_sustained(harness: &Harness, report: &mut Report) -> Result<(), Failed> {
    let seconds = harness.scaled(SECONDS, 2);
    let turns = harness
        .turns(1, &everyone(), |_| Slice {
            benchmark: "sustained",
            arguments: vec![RATE.to_string(), seconds.to_string()],
            limit: LIMIT,
        })
        .await?;
    let times = |of: &dyn Fn(&str) -> Option<Rounds>| {
        let median = |name: &str| of(name).map_or(f64::NAN, |rounds| rounds.median());
        format!(
            "{:.0} /s, p50 {:.2} ms, p99 {:.2} ms, latest {:.1} ms",
            median("rate"),
            median("median"),
            median("late"),
            median("latest"),
        )
    };
    let what = format!("bare insert and notify, {RATE}/s on {LANES} connections (floor)");
    report.figure(&what, &times(&|name| Some(turns.floor(name))));
    for contender in everyone() {
        if turns.of(contender, "rate").is_some() {
            report.figure(&format!("  {contender}"), &times(&|name| turns.of(contender, name)));
        }
    }
    report_failures(&turns, report);
    Ok(())
}
