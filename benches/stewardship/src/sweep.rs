//! A full sweep, set by set, beside the same work monitor by monitor.

use std::time::{Duration, Instant};

use events_core::{Broker as _, Report as Reconciled, Scope};
use stewardship::database::Queue;
use stewardship::statistics::StaleAfter;
use stewardship::{inheritance, reconcile};

use crate::Failed;
use crate::report::Report;
use crate::world::{ORGANISATION, World};

/// Of them all, so many are done one by one, and the time is multiplied.
const SAMPLE: u32 = 4_000;
const MONITORS: u32 = 100_000;
const ROUNDS: usize = 3;

pub(crate) async fn run(report: &mut Report) -> Result<(), Failed> {
    let world = World::new().await?;
    for statement in ORGANISATION {
        world.execute(statement).await?;
    }
    let lost = timed(sweep(&world.queue)).await?;
    report.figure("every event was lost: a million rows, set by set", &told(&lost));
    world.execute("ANALYZE").await?;

    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let sets = timed(sweep(&world.queue)).await?;
        assert_eq!((sets.1.checked, sets.1.changed()), (u64::from(MONITORS), 0));
        let one_by_one = one_by_one(&world.queue).await?;
        report.figure("nothing was lost: set by set", &told(&sets));
        report.figure("nothing was lost: one by one (of a sample)", &format!("{one_by_one:.1?}"));
        ratios.push(one_by_one.as_secs_f64() / sets.0.as_secs_f64());
    }
    let figure = ratio(ratios.clone());
    report.target("set by set, nothing lost", &figure, "at least 20", median(ratios) >= 20.0);

    // A hundredth of the monitors have lost what they inherited, as many have too much.
    world
        .execute(
            "DELETE FROM monitor_stewards WHERE source = 'inherited'
                 AND monitor_config_key LIKE 'monitor-%77'",
        )
        .await?;
    world
        .execute(
            "INSERT INTO monitor_stewards (user_id, monitor_config_key, source, source_system_id)
             SELECT 'user-1', key, 'inherited', 'gone' FROM monitor_configs
             WHERE key LIKE 'monitor-%33'",
        )
        .await?;
    let some = timed(sweep(&world.queue)).await?;
    report.figure("two of a hundred monitors are wrong: set by set", &told(&some));

    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        world.execute("DELETE FROM monitor_stewards").await?;
        let one_by_one = one_by_one(&world.queue).await?;
        world.execute("DELETE FROM monitor_stewards").await?;
        let all = timed(sweep(&world.queue)).await?;
        // What takes the time is writing the rows with their indexes, which both do.
        report.figure("all lost: set by set", &told(&all));
        report.figure("all lost: one by one (of a sample)", &format!("{one_by_one:.1?}"));
        ratios.push(one_by_one.as_secs_f64() / all.0.as_secs_f64());
    }
    report.figure("set by set, all lost", &ratio(ratios));
    match peak_mebibytes() {
        Some(peak) => report.target(
            "memory of the process, at most",
            &format!("{peak} MiB"),
            "at most 64",
            peak <= 64,
        ),
        None => report.figure("memory of the process", "not known here"),
    }
    Ok(())
}

fn median(mut ratios: Vec<f64>) -> f64 {
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

fn ratio(ratios: Vec<f64>) -> String {
    let low = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let high = ratios.iter().copied().fold(0.0, f64::max);
    format!("{:.0} times as fast ({low:.0} to {high:.0})", median(ratios))
}

async fn sweep(queue: &Queue) -> Result<Reconciled, Failed> {
    let states = reconcile::states(queue, StaleAfter(Duration::ZERO));
    Ok(queue.events().reconcile("steward_inheritance", Scope::All, &states).await?)
}

/// What it takes for all monitors, if each is like those of the sample: a transaction for each, in
/// which it is taken and converged.
async fn one_by_one(queue: &Queue) -> Result<Duration, Failed> {
    let keys: Vec<String> =
        sqlx::query_scalar("SELECT key FROM monitor_configs ORDER BY key LIMIT $1")
            .bind(i64::from(SAMPLE))
            .fetch_all(queue.pool())
            .await?;
    let started = Instant::now();
    for key in &keys {
        let mut session = queue.begin().await?;
        let taken = inheritance::take_monitor(&mut session, key).await?;
        inheritance::converge(&mut session, &taken).await?;
        session.commit().await?;
    }
    Ok(started.elapsed() * (MONITORS / SAMPLE))
}

async fn timed<T>(work: impl Future<Output = Result<T, Failed>>) -> Result<(Duration, T), Failed> {
    let started = Instant::now();
    let done = work.await?;
    Ok((started.elapsed(), done))
}

fn told((took, report): &(Duration, Reconciled)) -> String {
    format!("{took:.2?}: {} checked, {} changed", report.checked, report.changed())
}

/// The most memory that this process ever had, on Linux.
fn peak_mebibytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? / 1024)
}
