//! What a task costs the server: bytes of its log, dead row versions. And the worker's memory.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{Connection, PgConnection};

use super::worker::Elsewhere;
use super::{argument, everyone, figure, finished};
use crate::Failed;
use crate::contenders::{self, FLOOR, Publish, Queue};
use crate::report::Report;
use crate::slices::{Figures, Harness, Slice};

const TASKS: u64 = 20_000;
const LANES: usize = 8;
const LIMIT: Duration = Duration::from_mins(2);

pub(super) async fn slice(contender: &str, url: &str, arguments: &[&str]) -> Result<(), Failed> {
    let tasks: u64 = argument(arguments, 0)?;
    let lanes = u32::try_from(LANES)?;
    let queue: Arc<dyn Queue> = contenders::open(contender, url, lanes).await?.into();
    super::settle_down(url).await?;
    let mut connection = PgConnection::connect(url).await?;
    let before = log_position(&mut connection).await?;
    publish(&queue, tasks).await?;
    let published = log_position(&mut connection).await?;
    let (worker, mut starts) = Elsewhere::start(contender, url).await?;
    for _ in 0..tasks {
        starts.recv().await.ok_or("the worker is gone")?;
    }
    finished(queue.as_ref(), url).await?;
    let drained = log_position(&mut connection).await?;
    figure("publish", (published - before) as f64 / tasks as f64);
    figure("drain", (drained - published) as f64 / tasks as f64);
    figure("memory", worker.stop().await?);
    Ok(())
}

async fn publish(queue: &Arc<dyn Queue>, tasks: u64) -> Result<(), Failed> {
    let mut publishers = Vec::new();
    for lane in 0..LANES {
        let queue = Arc::clone(queue);
        publishers.push(tokio::spawn(async move {
            for number in (lane as u64..tasks).step_by(LANES) {
                queue.publish(lane, number, Publish::Alone).await?;
            }
            Ok::<_, Failed>(())
        }));
    }
    for publisher in publishers {
        publisher.await??;
    }
    Ok(())
}

async fn log_position(connection: &mut PgConnection) -> Result<i64, Failed> {
    let position = "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint";
    Ok(sqlx::query_scalar(position).fetch_one(connection).await?)
}

pub(super) async fn run(harness: &Harness, report: &mut Report) -> Result<(), Failed> {
    let tasks = harness.scaled(TASKS, 1_000);
    let slice = Slice { benchmark: "bytes", arguments: vec![tasks.to_string()], limit: LIMIT };
    for contender in std::iter::once(FLOOR).chain(everyone()) {
        match harness.slice(contender, &slice).await {
            Ok(figures) => report.figure(&format!("  {contender}"), &told(&figures, tasks)),
            Err(error) => report.figure(&format!("  {contender}"), &error.to_string()),
        }
    }
    Ok(())
}

fn told(figures: &Figures, tasks: u64) -> String {
    let value = |name: &str| figures.get(name).copied().unwrap_or(f64::NAN);
    format!(
        "log {:.0} + {:.0} bytes (publish + drain), {:.2} dead versions ({:.2} HOT), {:.1} MiB",
        value("publish"),
        value("drain"),
        value("dead") / tasks as f64,
        value("hot") / tasks as f64,
        value("memory"),
    )
}
