//! The port of Graphile Worker to Rust.
//!
//! Settings: those of its own throughput benchmark, a local queue of 5,000 among them, but 100 handlers at once instead
//! of 500, which was faster here, a
//! poll each 5 ms, completions batched for 5 ms.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use graphile_worker::{
    IntoTaskHandlerResult, JobSpec, LocalQueueConfig, RawJobSpec, TaskHandler, Worker,
    WorkerContext, WorkerOptions, WorkerUtils,
};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use tokio::task::JoinHandle;

use super::{Committing, Publish, Queue, Work};
use crate::Failed;
use crate::handled;
use crate::job::{Handler, Job};

const SCHEMA: &str = "graphile_worker";
const HANDLERS: usize = 100;
const LOCAL_QUEUE: usize = 5_000;
const DELAY: Duration = Duration::from_millis(5);
/// Connections beside those of the lanes: fetching, completing, listening.
const OWN_CONNECTIONS: u32 = 10;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Ignore {
    #[serde(flatten)]
    job: Job,
}

impl TaskHandler for Ignore {
    const IDENTIFIER: &'static str = "ignore";

    async fn run(self, _: WorkerContext) -> impl IntoTaskHandlerResult {
        handled::note(self.job.number);
        Ok::<(), String>(())
    }
}

pub(super) struct Graphile {
    pool: PgPool,
    publisher: WorkerUtils,
}

impl Graphile {
    pub(super) async fn open(url: &str, lanes: u32) -> Result<Self, Failed> {
        let pool = super::pool(url, lanes + OWN_CONNECTIONS).await?;
        let publisher = WorkerUtils::new(pool.clone(), SCHEMA);
        publisher.migrate().await?;
        Ok(Self { pool, publisher })
    }
}

#[async_trait]
impl Queue for Graphile {
    async fn publish(&self, _: usize, number: u64, how: Publish) -> Result<Committing, Failed> {
        let job = Ignore { job: Job::new(number) };
        match how {
            Publish::Alone => {
                self.publisher.add_job(job, JobSpec::default()).await?;
            }
            Publish::InTransaction => {
                let mut transaction = self.pool.begin().await?;
                self.publisher
                    .clone()
                    .with_executor(&mut transaction)
                    .add_job(job, JobSpec::default())
                    .await?;
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
        if handler == Handler::Record {
            return Err("graphile_worker completes no job in its handler's transaction".into());
        }
        let mut jobs = Vec::new();
        for number in numbers {
            jobs.push(RawJobSpec {
                identifier: Ignore::IDENTIFIER.into(),
                payload: serde_json::to_value(Job::new(number))?,
                spec: JobSpec::default(),
            });
        }
        self.publisher.add_raw_jobs(&jobs).await?;
        Ok(())
    }

    async fn work(&self, _: Handler) -> Result<Box<dyn Work>, Failed> {
        let worker = WorkerOptions::default()
            .schema(SCHEMA)
            .pg_pool(self.pool.clone())
            .concurrency(HANDLERS)
            .poll_interval(DELAY)
            .complete_job_batch_delay(DELAY)
            .local_queue(LocalQueueConfig::default().with_size(LOCAL_QUEUE))
            .listen_os_shutdown_signals(false)
            .define_job::<Ignore>()
            .init()
            .await?;
        let worker = Arc::new(worker);
        let runner = Arc::clone(&worker);
        let running = tokio::spawn(async move {
            if let Err(error) = runner.run().await {
                eprintln!("graphile_worker ended: {error}");
            }
        });
        Ok(Box::new(Running { worker, running }))
    }

    fn unfinished(&self) -> &'static str {
        "SELECT EXISTS (SELECT FROM graphile_worker._private_jobs)"
    }
}

struct Running {
    worker: Arc<Worker>,
    running: JoinHandle<()>,
}

#[async_trait]
impl Work for Running {
    async fn stop(self: Box<Self>) -> Result<(), Failed> {
        self.worker.request_shutdown();
        Ok(self.running.await?)
    }
}
