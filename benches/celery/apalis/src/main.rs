//! Publishes tasks that do nothing, drains them, and prints how many were drained in a second.
//!
//! ```text
//! cargo run --release -- redis://127.0.0.1:6379/0 100000 1000
//! ```
//!
//! Settings: batches of the given size, no lease for each task, no events; handlers run one after
//! the other on the worker's own task, which is the cheapest for handlers that do nothing.
//!
//! apalis-redis 1.0 pushes every task as a scheduled one, and moves all that are due in one step, whose
//! script fails with some thousands of them. So they are moved before, which is not measured.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use apalis::prelude::*;
use apalis_redis::{Config, RedisStorage, queries};
use redis::AsyncCommands;
use serde::{Deserialize, Serialize};

static HANDLED: AtomicU64 = AtomicU64::new(0);

/// A hundred bytes of JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct MonitorChecked {
    number: u64,
    monitor_config_key: String,
    operation_type: String,
}

async fn ignore(_event: MonitorChecked) -> Result<(), BoxDynError> {
    HANDLED.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), BoxDynError> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, url, tasks, batch] = arguments.as_slice() else {
        return Err("give the URL of Redis, how many tasks, and how many at once".into());
    };
    let (tasks, batch) = (tasks.parse::<u64>()?, batch.parse()?);
    let config = Config::default().queue("ignore").batch_size(batch);
    let config = config.lock_tasks(false).emit_events(false);
    let mut connection = apalis_redis::connect(url.as_str()).await?;
    let made = |number| {
        let event = MonitorChecked {
            number,
            monitor_config_key: "production-warehouse-monitor-0042".into(),
            operation_type: "classification".into(),
        };
        Ok::<_, BoxDynError>(TaskBuilder::new(serde_json::to_vec(&event)?).build())
    };
    for first in (0..tasks).step_by(500) {
        let some: Vec<_> =
            (first..tasks.min(first + 500)).map(made).collect::<Result<_, _>>()?;
        queries::push_tasks(&mut connection, &config, &some).await?;
        let (scheduled, active) = (config.scheduled_jobs_set(), config.active_jobs_list());
        let ids: Vec<String> = connection.zrange(&scheduled, 0, -1).await?;
        let () = connection.rpush(&active, ids).await?;
        let () = connection.del(&scheduled).await?;
    }
    let storage = RedisStorage::<MonitorChecked, _>::new(connection).with_config(config);
    let worker = WorkerBuilder::new("drain").backend(storage).build(ignore);
    let started = Instant::now();
    let drained = async {
        while HANDLED.load(Ordering::Relaxed) < tasks {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        ended = tokio::spawn(worker.run()) => {
            ended??;
            return Err("the worker ended before the queue was empty".into());
        }
        () = drained => {}
    }
    println!("{}", tasks as f64 / started.elapsed().as_secs_f64());
    std::process::exit(0)
}
