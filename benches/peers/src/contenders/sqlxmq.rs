//! sqlxmq, on its own sqlx 0.8.
//!
//! Settings: up to 1,000 jobs at once, polled for when fewer than 500 run, no keep-alive task for each job
//! (handlers end at once). It completes each job by a statement of its own.

use std::ops::Range;
use std::path::Path;

use async_trait::async_trait;
use sqlx08::PgPool;
use sqlx08::postgres::PgPoolOptions;
use sqlxmq::{CurrentJob, JobRegistry, JobRunnerHandle, job};

use super::{Committing, Publish, Queue, Work};
use crate::Failed;
use crate::handled;
use crate::job::{Handler, INSERT_EFFECT, Job};

const FEWEST: usize = 500;
const MOST: usize = 1_000;
const RECORDERS: usize = 16;
/// Connections beside those of the lanes: polling, completing, listening.
const OWN_CONNECTIONS: u32 = 10;

pub(super) struct Sqlxmq {
    pool: PgPool,
}

impl Sqlxmq {
    pub(super) async fn open(url: &str, lanes: u32) -> Result<Self, Failed> {
        let connections = lanes + OWN_CONNECTIONS;
        let pool = PgPoolOptions::new()
            .min_connections(connections)
            .max_connections(connections)
            .test_before_acquire(false)
            .acquire_timeout(std::time::Duration::from_mins(2))
            .connect(url)
            .await?;
        let migrations = Path::new(env!("SQLXMQ_MIGRATIONS"));
        sqlx08::migrate::Migrator::new(migrations).await?.run(&pool).await?;
        Ok(Self { pool })
    }
}

#[job]
async fn ignore(mut current: CurrentJob) -> Result<(), Failed> {
    let job: Job = current.json()?.ok_or("the job has a payload")?;
    handled::note(job.number);
    Ok(current.complete().await?)
}

#[job]
async fn record(mut current: CurrentJob) -> Result<(), Failed> {
    let job: Job = current.json()?.ok_or("the job has a payload")?;
    handled::note(job.number);
    let pool = current.pool().clone();
    let mut transaction = pool.begin().await?;
    sqlx08::query(INSERT_EFFECT)
        .bind(i64::try_from(job.number)?)
        .execute(&mut *transaction)
        .await?;
    Ok(current.complete_with_transaction(transaction).await?)
}

#[async_trait]
impl Queue for Sqlxmq {
    async fn publish(&self, _: usize, number: u64, how: Publish) -> Result<Committing, Failed> {
        let mut builder = ignore.builder();
        let builder = builder.set_json(&Job::new(number))?;
        match how {
            Publish::Alone => {
                builder.spawn(&self.pool).await?;
            }
            Publish::InTransaction => {
                let mut transaction = self.pool.begin().await?;
                builder.spawn(&mut *transaction).await?;
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
        let mut transaction = self.pool.begin().await?;
        for number in numbers {
            let mut builder = match handler {
                Handler::Ignore => ignore.builder(),
                Handler::Record => record.builder(),
            };
            builder.set_json(&Job::new(number))?.spawn(&mut *transaction).await?;
        }
        Ok(transaction.commit().await?)
    }

    async fn work(&self, handler: Handler) -> Result<Box<dyn Work>, Failed> {
        let mut runner = JobRegistry::new(&[ignore, record]).runner(&self.pool);
        match handler {
            Handler::Ignore => runner.set_concurrency(FEWEST, MOST),
            Handler::Record => runner.set_concurrency(RECORDERS, RECORDERS),
        };
        Ok(Box::new(Running(runner.set_keep_alive(false).run().await?)))
    }

    fn unfinished(&self) -> &'static str {
        "SELECT EXISTS (SELECT FROM mq_msgs WHERE id <> '00000000-0000-0000-0000-000000000000')"
    }
}

struct Running(JobRunnerHandle);

#[async_trait]
impl Work for Running {
    async fn stop(mut self: Box<Self>) -> Result<(), Failed> {
        self.0.stop().await;
        self.0.wait_jobs_finish(std::time::Duration::from_secs(5)).await;
        Ok(())
    }
}
