//! apalis on PostgreSQL.
//!
//! Settings: batches of 2,000, its own notifications beside polling each 5 ms, no separate
//! statement to lock a task, results persisted (without that it completes nothing). Handlers run one
//! after the other on the worker's own task, which is the cheapest for handlers that do nothing.

use std::ops::Range;
use std::time::Duration;

use ::apalis::prelude::*;
use apalis_postgres::{Config, PostgresStorage, Pubsub, queries};
use async_trait::async_trait;
use sqlx::PgPool;

use super::{Committing, Publish, Queue, Spawned, Work};
use crate::Failed;
use crate::handled;
use crate::job::{self, Job};

const QUEUE: &str = "ignore";
const BATCH: usize = 2_000;
const POLL: Duration = Duration::from_millis(5);
/// Connections beside those of the lanes: fetching, completing, listening.
const OWN_CONNECTIONS: u32 = 6;

pub(super) struct Apalis {
    pool: PgPool,
}

impl Apalis {
    pub(super) async fn open(url: &str, lanes: u32) -> Result<Self, Failed> {
        let pool = super::pool(url, lanes + OWN_CONNECTIONS).await?;
        PostgresStorage::setup(&pool).await?;
        Ok(Self { pool })
    }

    async fn push(&self, numbers: Range<u64>) -> Result<(), Failed> {
        let tasks = numbers
            .map(|number| TaskBuilder::new(Job::json(number).into_bytes()).build())
            .collect();
        // Its sinks begin and commit around the same statement.
        let mut transaction = self.pool.begin().await?;
        queries::push_tasks(&mut *transaction, QUEUE, tasks).await?;
        Ok(transaction.commit().await?)
    }
}

async fn ignore(job: Job) -> Result<(), BoxDynError> {
    handled::note(job.number);
    Ok(())
}

#[async_trait]
impl Queue for Apalis {
    async fn publish(&self, _: usize, number: u64, _: Publish) -> Result<Committing, Failed> {
        self.push(number..number + 1).await?;
        Ok(Committing::now())
    }

    async fn publish_many(
        &self,
        _: usize,
        numbers: Range<u64>,
        handler: job::Handler,
    ) -> Result<(), Failed> {
        if handler == job::Handler::Record {
            return Err("apalis completes no task in its handler's transaction".into());
        }
        self.push(numbers).await
    }

    async fn work(&self, _: job::Handler) -> Result<Box<dyn Work>, Failed> {
        let config = Config::default().queue(QUEUE).batch_size(BATCH);
        let config = Config { lock_tasks: false, persist_results: true, ..config };
        let storage = PostgresStorage::<Job>::new(&self.pool).with_config(config);
        let notified = StreamStrategy::new(Pubsub::new(self.pool.clone(), QUEUE.into()));
        let strategy = Strategy::new().apply(notified).interval(POLL);
        let worker =
            WorkerBuilder::new("peers").backend(storage.poll_with_strategy(strategy)).build(ignore);
        Ok(Box::new(Spawned(tokio::spawn(async move {
            if let Err(error) = worker.run().await {
                eprintln!("apalis ended: {error}");
            }
        }))))
    }

    fn unfinished(&self) -> &'static str {
        "SELECT EXISTS (SELECT FROM apalis.jobs WHERE status <> 'Done')"
    }
}
