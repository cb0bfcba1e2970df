//! A process that handles, until its standard input closes.

use std::sync::Arc;
use std::time::Duration;

use events_core::prelude::*;
use events_runtime::{Statistics, Worker};
use events_sqlx::PostgresQueueOptions;
use tokio::io::AsyncReadExt;

use crate::arguments::Work;
use crate::mortal::Mortal;
use crate::{Error, application};

/// Handlers that run at once in one process.
const CONCURRENCY: usize = 8;

/// The name of a queue that does not exist and that the worker says it does not serve, so that its
/// row tells which process it is: workers choose their ids themselves.
pub fn mark(process: u32) -> String {
    format!("process-{process}")
}

pub async fn work(arguments: Work) -> Result<(), Error> {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let events = Events::builder().settings(application::settings()).build()?;
    let queue = PostgresQueueOptions::new()
        .max_connections(u32::try_from(CONCURRENCY)?)
        .connect(&arguments.url, &events)
        .await?;
    let worker = Worker::builder(&events, Mortal(queue.clone()))
        .state(queue.pool().clone())
        .queues(Queues::all().except([mark(std::process::id())]))
        .concurrency(CONCURRENCY)
        .build()?;
    let telling = tokio::spawn(tell(worker.statistics()));
    let closed = async {
        tokio::io::stdin().read_to_end(&mut Vec::new()).await.ok();
    };
    worker.run_until(closed).await?;
    telling.abort();
    Ok(())
}

/// Says what the worker has counted, whenever that has changed: it may be killed at any time.
async fn tell(statistics: Arc<Statistics>) {
    let mut told = String::new();
    loop {
        let line = format!(
            "statistics rescued={} stale={} retried={}",
            statistics.rescued(),
            statistics.stale(),
            statistics.retried()
        );
        if line != told {
            println!("{line}");
            told = line;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
