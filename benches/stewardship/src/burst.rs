//! Many operations of few monitors, whose statistics are computed once for all of a window.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use events_core::{Admin as _, Broker as _};
use events_runtime::Worker;
use stewardship::database::{CONCURRENCY, CONNECTIONS};
use stewardship::repositories::{monitors, operations};

use crate::Failed;
use crate::report::Report;
use crate::world::World;

const OPERATIONS: usize = 100_000;
const MONITORS: usize = 1_000;

/// So many in one transaction.
const AT_ONCE: usize = 10;

/// Those of them that publish beside the handlers.
const PUBLISHERS: usize = if CONNECTIONS > 1 { 4 } else { 1 };

pub(crate) async fn run(report: &mut Report) -> Result<(), Failed> {
    let world = World::new().await?;
    let queue = &world.queue;
    let mut session = queue.begin().await?;
    for monitor in 0..MONITORS {
        monitors::create(&mut session, &format!("m{monitor}"), None, false).await?;
    }
    session.commit().await?;
    let worker = Worker::builder(queue.events(), queue.clone())
        .concurrency(CONCURRENCY)
        .reconcilers(false)
        .build()?;
    let statistics = worker.statistics();
    let working = tokio::spawn(worker.run_until(std::future::pending::<()>()));
    let started = Instant::now();
    let next = Arc::new(AtomicUsize::new(0));
    let publishers: Vec<_> =
        (0..PUBLISHERS).map(|_| tokio::spawn(publish(world.queue.clone(), next.clone()))).collect();
    for publisher in publishers {
        publisher.await?.map_err(|error| error.to_string())?;
    }
    let published = started.elapsed();
    while !queue.counts().await?.is_drained() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    working.abort();
    let counted: i64 = sqlx::query_scalar(
        "SELECT CAST(sum(operations) AS BIGINT) FROM monitor_aggregate_statistics",
    )
    .fetch_one(queue.pool())
    .await?;
    assert_eq!(counted, i64::try_from(OPERATIONS)?, "every operation is counted");
    let computed = statistics.completed();
    let rate = OPERATIONS as f64 / published.as_secs_f64();
    report.figure(
        "operations published, ten to a transaction",
        &format!("{OPERATIONS} in {published:.1?} ({rate:.0}/s)"),
    );
    report.figure("until all statistics are right", &format!("{:.1?}", started.elapsed()));
    report.target(
        "computations of statistics",
        &computed.to_string(),
        "at most 5,000",
        computed <= 5_000,
    );
    Ok(())
}

async fn publish(
    queue: stewardship::database::Queue,
    next: Arc<AtomicUsize>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    loop {
        let first = next.fetch_add(AT_ONCE, Ordering::Relaxed);
        if first >= OPERATIONS {
            return Ok(());
        }
        let mut session = queue.begin().await?;
        for number in first..first + AT_ONCE {
            // Spread over the monitors, so that each is busy all the time.
            let monitor = format!("m{}", number * 7919 % MONITORS);
            operations::complete(&mut session, &monitor, "classify", &[]).await?;
        }
        session.commit().await?;
    }
}
