//! What a snapshot that is held open does to claims: no dead row can be removed while it lasts.
//!
//! A thousand tasks are published, claimed and completed in each second, in batches of a hundred, by
//! this project's queue and by the bare statements in turns, first without a snapshot, then with
//! one, then without again.

use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};

use super::{argument, figure};
use crate::Failed;
use crate::contenders::{BareClaims, Claims, OURS};
use crate::measure::Rounds;
use crate::report::Report;
use crate::slices::{Figures, Harness, Slice};

const BATCH: u64 = 100;
const TICK: Duration = Duration::from_millis(100);
/// Minutes without a snapshot, with it, and after it.
const BEFORE: u64 = 1;
const HELD: u64 = 10;
const AFTER: u64 = 2;
const MINUTE: u64 = 60;
const TARGET: f64 = 2.0;

pub(super) async fn slice(url: &str, arguments: &[&str]) -> Result<(), Failed> {
    let minute = Duration::from_secs(argument(arguments, 0)?);
    let mut ours = Claims::open(url).await?;
    let mut bare = BareClaims::open(url).await?;
    super::settle_down(url).await?;
    let mut holder = PgConnection::connect(url).await?;
    for at in 0..BEFORE + HELD + AFTER {
        if at == BEFORE {
            let hold = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class";
            sqlx::raw_sql(hold).execute(&mut holder).await?;
        } else if at == BEFORE + HELD {
            sqlx::raw_sql("COMMIT").execute(&mut holder).await?;
        }
        let [ours_times, bare_times] = one_minute(&mut ours, &mut bare, minute).await?;
        for (who, times) in [("events", ours_times), ("bare", bare_times)] {
            figure(&format!("{who} median {at}"), times.median());
            figure(&format!("{who} late {at}"), times.quantile(0.99));
            figure(&format!("{who} latest {at}"), times.quantile(1.0));
        }
    }
    Ok(())
}

/// Milliseconds of each claim.
async fn one_minute(
    ours: &mut Claims,
    bare: &mut BareClaims,
    minute: Duration,
) -> Result<[Rounds; 2], Failed> {
    let mut times: [Rounds; 2] = Default::default();
    let limit = usize::try_from(BATCH)?;
    let ends = Instant::now() + minute;
    let mut ticks = tokio::time::interval(TICK);
    while Instant::now() < ends {
        ticks.tick().await;
        ours.publish(BATCH).await?;
        times[0].push(ours.claim(limit).await?.as_secs_f64() * 1e3);
        bare.publish(BATCH).await?;
        times[1].push(bare.claim(limit).await?.as_secs_f64() * 1e3);
    }
    Ok(times)
}

pub(super) async fn run(harness: &Harness, report: &mut Report) -> Result<(), Failed> {
    let minute = harness.scaled(MINUTE, 2);
    let slice = Slice {
        benchmark: "snapshot",
        arguments: vec![minute.to_string()],
        limit: Duration::from_secs(minute * (BEFORE + HELD + AFTER) * 2 + 60),
    };
    let figures = harness.slice(OURS, &slice).await?;
    for who in ["bare", "events"] {
        let what = format!("claim of {BATCH}, {who}, without a snapshot");
        report.figure(&what, &told(&figures, who, 0));
        for at in BEFORE..BEFORE + HELD + AFTER {
            let (ratio, when) = (over_empty(&figures, who, at), when(at));
            let figure = format!("{}; p50 {ratio:.2} of before", told(&figures, who, at));
            // The first minute is the server's to notice.
            match who == "events" && (BEFORE + 1..BEFORE + HELD).contains(&at) {
                true => report.target(&when, &figure, "at most 2 times", ratio <= TARGET),
                false => report.figure(&when, &figure),
            }
        }
    }
    Ok(())
}

fn when(at: u64) -> String {
    match at < BEFORE + HELD {
        true => format!("  held, minute {}", at - BEFORE + 1),
        false => format!("  released, minute {}", at - BEFORE - HELD + 1),
    }
}

fn value(figures: &Figures, who: &str, what: &str, at: u64) -> f64 {
    figures.get(&format!("{who} {what} {at}")).copied().unwrap_or(f64::NAN)
}

fn over_empty(figures: &Figures, who: &str, at: u64) -> f64 {
    value(figures, who, "median", at) / value(figures, who, "median", 0)
}

fn told(figures: &Figures, who: &str, at: u64) -> String {
    format!(
        "p50 {:.2} ms, p99 {:.2} ms, latest {:.1} ms",
        value(figures, who, "median", at),
        value(figures, who, "late", at),
        value(figures, who, "latest", at),
    )
}
