//! How long an idle worker takes to start the handler of an event that is committed.

use std::time::{Duration, Instant};

use events_core::prelude::*;
use events_core::{Events, Registry};
use events_sqlx::SqliteQueue;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::Failed;
use crate::measure::{Rounds, micros};
use crate::report::Report;

const SAMPLES: usize = 500;

/// Longer than a worker lingers over outcomes and its neighbours' commits: it is idle again.
const PAUSE: Duration = Duration::from_millis(15);

/// The handler says when it was started.
#[derive(Event, Debug, Clone)]
struct Rang {
    number: u64,
}

#[subscribes_to(Rang, freshness_only)]
async fn answer(event: Rang, started: State<mpsc::UnboundedSender<(u64, Instant)>>) {
    started.send((event.number, Instant::now())).ok();
}

#[publishes(Rang)]
async fn ring(queue: &SqliteQueue, number: u64) -> Result<Times, Failed> {
    let mut session = queue.begin().await?;
    publish_after_commit(&mut session, Rang { number })?;
    let commit_began = Instant::now();
    session.commit().await?;
    Ok(Times { commit_began, committed: Instant::now() })
}

struct Times {
    commit_began: Instant,
    committed: Instant,
}

pub(crate) fn run(report: &mut Report) -> Result<(), Failed> {
    let runtime = Runtime::new()?;
    let [from_begin, from_end, commit] = runtime.block_on(measure())?;
    for (what, rounds) in [
        ("begin of the commit to handler start", from_begin),
        ("end of the commit to handler start", from_end),
        ("the commit itself", commit),
    ] {
        let (median, late) = (rounds.median() / 1e3, rounds.quantile(0.99) / 1e3);
        report.figure(what, &format!("p50 {median:.2} ms, p99 {late:.2} ms"));
    }
    Ok(())
}

async fn measure() -> Result<[Rounds; 3], Failed> {
    let directory = tempfile::tempdir()?;
    let registry = Registry::builder().subscriber::<answer>().build()?;
    let events = Events::builder().registry(registry).build()?;
    let queue = SqliteQueue::open(directory.path().join("app.db"), &events).await?;
    let (sender, receiver) = mpsc::unbounded_channel();
    let worker = super::worker(&queue, &events).state(sender).build()?;
    super::run_while(worker, ring_often(&queue, receiver)).await?
}

async fn ring_often(
    queue: &SqliteQueue,
    mut started: mpsc::UnboundedReceiver<(u64, Instant)>,
) -> Result<[Rounds; 3], Failed> {
    let mut measured: [Rounds; 3] = Default::default();
    for number in 0..SAMPLES as u64 {
        tokio::time::sleep(PAUSE).await;
        let times = ring(queue, number).await?;
        let (answered, handler) = started.recv().await.ok_or("the worker is gone")?;
        assert_eq!(answered, number, "one event at a time");
        let [from_begin, from_end, commit] = &mut measured;
        from_begin.push(micros(handler - times.commit_began));
        from_end.push(micros(handler.saturating_duration_since(times.committed)));
        commit.push(micros(times.committed - times.commit_began));
    }
    Ok(measured)
}
