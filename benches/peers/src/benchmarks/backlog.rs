//! Whether what waits, or what is dead, slows a claim down.

use std::time::Duration;

use super::{argument, figure};
use crate::Failed;
use crate::contenders::{Claims, OURS, publish_for_tomorrow};
use crate::measure::Rounds;
use crate::report::Report;
use crate::slices::{Figures, Harness, Slice};

const MILLION: u64 = 1_000_000;
const CLAIMS: u64 = 300;
const LIMIT: u64 = 100;
const ROUNDS: usize = 2;
const SLICE_LIMIT: Duration = Duration::from_mins(3);
const TARGET: f64 = 2.0;

/// The first is what the others are compared with.
const BACKLOGS: [(&str, &str); 5] = [
    ("none", "nothing more (floor)"),
    ("due", "a million more due"),
    ("tomorrow", "a million scheduled for tomorrow"),
    ("elsewhere", "a million in another queue"),
    ("dead", "a million dead letters"),
];

pub(super) async fn slice(url: &str, arguments: &[&str]) -> Result<(), Failed> {
    let (backlog, size) = (argument::<String>(arguments, 0)?, argument(arguments, 1)?);
    let claims = Claims::open(url).await?;
    for _ in 0..size / super::BULK {
        match backlog.as_str() {
            "due" => claims.publish(super::BULK).await?,
            "elsewhere" => claims.publish_elsewhere(super::BULK).await?,
            "dead" => claims.bury(super::BULK).await?,
            _ => {}
        }
    }
    if backlog == "tomorrow" {
        publish_for_tomorrow(url, size).await?;
    }
    for _ in 0..=CLAIMS {
        claims.publish(LIMIT).await?; // what is claimed never runs out
    }
    super::settle_down(url).await?;
    let mut times = Rounds::default();
    for _ in 0..CLAIMS {
        times.push(claims.claim(usize::try_from(LIMIT)?).await?.as_secs_f64() * 1e3);
    }
    figure("median", times.median());
    figure("late", times.quantile(0.99));
    figure("latest", times.quantile(1.0));
    Ok(())
}

pub(super) async fn run(harness: &Harness, report: &mut Report) -> Result<(), Failed> {
    let size = harness.scaled(MILLION, 10_000);
    let mut measured: [Vec<Figures>; BACKLOGS.len()] = Default::default();
    for round in 0..ROUNDS {
        for turn in 0..BACKLOGS.len() {
            let turn = (round + turn) % BACKLOGS.len();
            let slice = Slice {
                benchmark: "backlog",
                arguments: vec![BACKLOGS[turn].0.into(), size.to_string()],
                limit: SLICE_LIMIT,
            };
            measured[turn].push(harness.slice(OURS, &slice).await?);
        }
    }
    let median = |figures: &[Figures], name: &str| {
        let mut rounds = Rounds::default();
        figures.iter().filter_map(|figures| figures.get(name)).for_each(|ms| rounds.push(*ms));
        rounds.median()
    };
    let (empty, _) = measured.split_first().ok_or("there are backlogs")?;
    for ((_, what), figures) in BACKLOGS.iter().zip(&measured) {
        let times = ["median", "late", "latest"].map(|name| median(figures, name));
        let over = median(figures, "median") / median(empty, "median");
        let late_over = median(figures, "late") / median(empty, "late");
        let told = format!(
            "p50 {:.2} ms, p99 {:.2} ms, latest {:.2} ms; p50 {over:.2}, p99 {late_over:.2} of none",
            times[0], times[1], times[2],
        );
        let met = over <= TARGET && late_over <= TARGET;
        report.target(&format!("claim of {LIMIT}, {what}"), &told, "at most 2 times", met);
    }
    Ok(())
}
