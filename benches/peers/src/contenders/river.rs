//! River's own client for Rust.
//!
//! Settings: the most handlers at once that its fetches of one batch profit from (it claims as many
//! as handlers are free), fetches as often as it allows (each millisecond), completions batched as
//! built in, completed rows kept as it does by default.

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use riverqueue::migrate::PostgresMigrator;
use riverqueue::{Client, JobArgs, QueueConfig, RunHandle, WorkContext, WorkOutcome, Workers};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;

use super::{Committing, Publish, Queue, Work};
use crate::Failed;
use crate::handled;
use crate::job::{Handler, INSERT_EFFECT, Job};

/// Handlers at once where they do nothing, and so the size of a batch.
const HANDLERS: usize = 2_000;
/// Handlers at once where each holds a connection.
const RECORDERS: usize = 16;
const COOLDOWN: Duration = Duration::from_millis(1);
/// Connections beside those of the lanes: fetching, completing, listening, leading.
const OWN_CONNECTIONS: u32 = 8;

#[derive(Clone, Debug, JobArgs, Serialize, Deserialize)]
#[river(kind = "ignore")]
struct Ignore {
    #[serde(flatten)]
    job: Job,
}

#[derive(Clone, Debug, JobArgs, Serialize, Deserialize)]
#[river(kind = "record")]
struct Record {
    #[serde(flatten)]
    job: Job,
}

pub(super) struct River {
    pool: PgPool,
    /// Works nothing.
    publisher: Client,
}

impl River {
    pub(super) async fn open(url: &str, lanes: u32) -> Result<Self, Failed> {
        let pool = super::pool(url, lanes + OWN_CONNECTIONS).await?;
        PostgresMigrator::new(pool.clone()).migrate_up().await?;
        let publisher = Client::builder(pool.clone()).fetch_cooldown(COOLDOWN).build()?;
        Ok(Self { pool, publisher })
    }
}

async fn ignore(_: WorkContext, job: riverqueue::Job<Ignore>) -> Result<WorkOutcome, Failed> {
    handled::note(job.args.job.number);
    Ok(WorkOutcome::Complete)
}

async fn record(context: WorkContext, job: riverqueue::Job<Record>) -> Result<WorkOutcome, Failed> {
    handled::note(job.args.job.number);
    let client = context.client().ok_or("a worked job has a client")?;
    let pool = client.database().as_postgres().ok_or("the client is on PostgreSQL")?.pool().clone();
    let mut transaction = riverqueue::database::begin_postgres(&pool).await?;
    sqlx::query(INSERT_EFFECT)
        .bind(i64::try_from(job.args.job.number)?)
        .execute(&mut *transaction)
        .await?;
    context.job_complete_tx(&mut transaction).await?;
    transaction.commit().await?;
    Ok(WorkOutcome::Complete)
}

#[async_trait]
impl Queue for River {
    async fn publish(&self, _: usize, number: u64, how: Publish) -> Result<Committing, Failed> {
        let args = Ignore { job: Job::new(number) };
        match how {
            Publish::Alone => {
                self.publisher.insert(args).await?;
            }
            Publish::InTransaction => {
                let mut transaction = self.pool.begin().await?;
                self.publisher.insert(args).tx(&mut transaction).await?;
                transaction.commit().await?;
            }
        }
        Ok(Committing::now())
    }

    async fn publish_many(
        &self,
        _: usize,
        numbers: Range<u64>,
        handler: Handler,
    ) -> Result<(), Failed> {
        match handler {
            Handler::Ignore => {
                let jobs = numbers.map(|number| Ignore { job: Job::new(number) });
                self.publisher.insert_many(jobs).await?;
            }
            Handler::Record => {
                let jobs = numbers.map(|number| Record { job: Job::new(number) });
                self.publisher.insert_many(jobs).await?;
            }
        }
        Ok(())
    }

    async fn work(&self, handler: Handler) -> Result<Box<dyn Work>, Failed> {
        let mut workers = Workers::new();
        workers.add_fn(ignore)?;
        workers.add_fn(record)?;
        let handlers = match handler {
            Handler::Ignore => HANDLERS,
            Handler::Record => RECORDERS,
        };
        let queue = QueueConfig::new(handlers).with_fetch_poll_interval(Duration::from_millis(100));
        let client = Client::builder(self.pool.clone())
            .workers(workers)
            .fetch_cooldown(COOLDOWN)
            .queue("default", queue)
            .build()?;
        let mut running = client.start()?;
        running.wait_ready().await?;
        Ok(Box::new(Running(running)))
    }

    fn unfinished(&self) -> &'static str {
        "SELECT EXISTS (SELECT FROM river_job WHERE state IN ('available', 'running'))"
    }
}

struct Running(RunHandle);

#[async_trait]
impl Work for Running {
    async fn stop(mut self: Box<Self>) -> Result<(), Failed> {
        Ok(self.0.stop().await?)
    }
}
