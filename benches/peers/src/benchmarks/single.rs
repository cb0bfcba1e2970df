//! Publishing one task in each commit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{argument, everyone, figure, of_floor, report_failures};
use crate::Failed;
use crate::contenders::{self, FLOOR, OURS, PIPELINED, Publish};
use crate::measure::per_second;
use crate::report::Report;
use crate::slices::{Harness, Slice};

const LANES: [u32; 3] = [1, 8, 16];
const ROUNDS: usize = 3;
const MILLISECONDS: u64 = 1_000;
const LIMIT: Duration = Duration::from_mins(1);
const TARGET: f64 = 0.9;

pub(super) async fn slice(contender: &str, url: &str, arguments: &[&str]) -> Result<(), Failed> {
    let lanes: u32 = argument(arguments, 0)?;
    let how = match argument::<String>(arguments, 1)?.as_str() {
        "alone" => Publish::Alone,
        _ => Publish::InTransaction,
    };
    let time = Duration::from_millis(argument(arguments, 2)?);
    let queue: Arc<dyn contenders::Queue> = contenders::open(contender, url, lanes).await?.into();
    for lane in 0..lanes as usize {
        queue.publish(lane, 0, how).await?; // each connection has prepared its statements
    }
    super::settle_down(url).await?;
    let started = Instant::now();
    let mut publishers = Vec::new();
    for lane in 0..lanes as usize {
        let queue = Arc::clone(&queue);
        publishers.push(tokio::spawn(async move {
            let mut published = 0;
            while started.elapsed() < time {
                queue.publish(lane, published, how).await?;
                published += 1;
            }
            Ok::<_, Failed>(published)
        }));
    }
    let mut published = 0;
    for publisher in publishers {
        published += publisher.await??;
    }
    figure("rate", published as f64 / started.elapsed().as_secs_f64());
    Ok(())
}

pub(super) async fn run(harness: &Harness, report: &mut Report) -> Result<(), Failed> {
    for lanes in LANES {
        measure(harness, report, lanes, "alone").await?;
    }
    measure(harness, report, 8, "in-transaction").await
}

async fn measure(
    harness: &Harness,
    report: &mut Report,
    lanes: u32,
    how: &'static str,
) -> Result<(), Failed> {
    let time = harness.scaled(MILLISECONDS, 200);
    let mut contenders = everyone();
    contenders.insert(1, PIPELINED);
    let turns = harness
        .turns(ROUNDS, &contenders, |_| Slice {
            benchmark: "single",
            arguments: vec![lanes.to_string(), how.into(), time.to_string()],
            limit: LIMIT,
        })
        .await?;
    let what = format!("bare begin, insert, commit, {lanes} connections (floor of {how})");
    report.figure(&what, &per_second(turns.floor("rate").median()));
    for contender in contenders {
        let Some((rate, ratio)) = of_floor(&turns, contender, "rate") else { continue };
        let what = format!("  {contender}");
        let figure = format!("{}, {ratio} of the floor", per_second(rate.median()));
        match contender {
            OURS => report.target(&what, &figure, "at least 0.9", ratio.median() >= TARGET),
            PIPELINED => report.figure(&format!("  {FLOOR} in one round trip"), &figure),
            _ => report.figure(&what, &figure),
        }
    }
    report_failures(&turns, report);
    Ok(())
}
