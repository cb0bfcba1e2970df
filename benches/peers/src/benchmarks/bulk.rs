//! Publishing a thousand tasks in each commit.

use std::time::{Duration, Instant};

use super::{BULK, argument, everyone, figure, of_floor, report_failures};
use crate::Failed;
use crate::contenders::{self, OURS};
use crate::job::Handler;
use crate::measure::per_second;
use crate::report::Report;
use crate::slices::{Harness, Slice};

const ROUNDS: usize = 3;
const MILLISECONDS: u64 = 1_000;
const LIMIT: Duration = Duration::from_mins(1);
const TARGET: f64 = 0.7;

pub(super) async fn slice(contender: &str, url: &str, arguments: &[&str]) -> Result<(), Failed> {
    let time = Duration::from_millis(argument(arguments, 0)?);
    let queue = contenders::open(contender, url, 1).await?;
    queue.publish_many(0, 0..BULK, Handler::Ignore).await?; // the statements are prepared
    super::settle_down(url).await?;
    let started = Instant::now();
    let mut published = 0;
    while started.elapsed() < time {
        queue.publish_many(0, 0..BULK, Handler::Ignore).await?;
        published += BULK;
    }
    figure("rate", published as f64 / started.elapsed().as_secs_f64());
    Ok(())
}

pub(super) async fn run(harness: &Harness, report: &mut Report) -> Result<(), Failed> {
    let time = harness.scaled(MILLISECONDS, 200);
    let turns = harness
        .turns(ROUNDS, &everyone(), |_| Slice {
            benchmark: "bulk",
            arguments: vec![time.to_string()],
            limit: LIMIT,
        })
        .await?;
    let what = "bare begin, insert of 1,000 rows, commit (floor)";
    report.figure(what, &per_second(turns.floor("rate").median()));
    for contender in everyone() {
        let Some((rate, ratio)) = of_floor(&turns, contender, "rate") else { continue };
        let what = format!("  {contender}");
        let figure = format!("{}, {ratio} of the floor", per_second(rate.median()));
        match contender {
            OURS => report.target(&what, &figure, "at least 0.7", ratio.median() >= TARGET),
            _ => report.figure(&what, &figure),
        }
    }
    report_failures(&turns, report);
    Ok(())
}
