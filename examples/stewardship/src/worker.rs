//! The worker of a service: inside its process, or a process of its own. Several share the work.

use std::future::Future;
use std::time::Duration;

use events_core::{Events, StartError};
use events_runtime::{Worker, WorkerError, shutdown_signal};
use events_sqlx::QueueError;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::configuration::Configuration;
use crate::database::{self, CONCURRENCY, CONNECTIONS, Queue};
use crate::schema;
use crate::statistics::StaleAfter;

/// What keeps a service, or a worker, from starting.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartingError {
    /// The program is wired wrongly.
    #[error("the events cannot start")]
    Events(#[from] StartError),
    /// The database cannot be opened.
    #[error(transparent)]
    Open(#[from] QueueError),
    /// The application's tables are not there and cannot be made.
    #[error("the application's tables cannot be created; is this another program's database?")]
    Schema(#[source] sqlx::Error),
    /// A handler or a reconciler takes something that it is not given.
    #[error("the worker cannot run")]
    Worker(#[from] WorkerError),
    /// There is nothing to work on.
    #[error(
        "there is no database {0:?}; start `stewardship serve`, which makes it, or correct `database`"
    )]
    Missing(std::ffi::OsString),
}

/// How a service, or a worker, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// As it was told to, with everything that had begun done or given back.
    Well,
    /// As it was told twice: at once.
    AtOnce,
}

/// How long connections of the database are waited for in the end.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How long after its end a worker starts again.
const PAUSE: Duration = Duration::from_secs(1);

/// Whether a worker runs, as others see it.
#[derive(Debug, Clone)]
pub(crate) struct Standing(watch::Receiver<bool>);

impl Standing {
    /// Whether it does, now.
    pub(crate) fn is_running(&self) -> bool {
        // Who would say that it has ended may have ended itself.
        *self.0.borrow() && self.0.has_changed().is_ok()
    }
}

/// A worker that goes on until it is told to stop.
pub(crate) struct LastingWorker {
    events: Events,
    queue: Queue,
    stale_after: StaleAfter,
    grace: Duration,
    running: watch::Sender<bool>,
}

impl LastingWorker {
    pub(crate) fn new(configuration: &Configuration, events: &Events, queue: &Queue) -> Self {
        Self {
            events: events.clone(),
            queue: queue.clone(),
            stale_after: configuration.statistics_stale_after,
            grace: configuration.shutdown_grace,
            running: watch::channel(true).0,
        }
    }

    pub(crate) fn standing(&self) -> Standing {
        Standing(self.running.subscribe())
    }

    /// Works until `stop` resolves. A worker that ends before, which the log tells, is started again.
    pub(crate) async fn run_until<S: Future>(
        self,
        stop: impl Fn() -> S,
    ) -> Result<(), WorkerError> {
        loop {
            let worker = self.worker()?;
            self.running.send_replace(true);
            let Err(error) = worker.run_until(stop()).await else { return Ok(()) };
            self.running.send_replace(false);
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the worker has ended before its time; it is started again"
            );
            tokio::select! {
                _ = stop() => return Ok(()),
                () = sleep(PAUSE) => {}
            }
        }
    }

    fn worker(&self) -> Result<Worker<Queue>, WorkerError> {
        Worker::builder(&self.events, self.queue.clone())
            .concurrency(CONCURRENCY)
            .shutdown_grace(self.grace)
            .state(self.queue.clone())
            .state(self.stale_after)
            .build()
    }
}

/// Works, apart from the service, until the process is told to end.
///
/// # Errors
/// The database cannot be used, or the program is wired wrongly.
pub async fn run(configuration: &Configuration) -> Result<Ended, StartingError> {
    if configuration.database.is_missing() {
        return Err(StartingError::Missing(configuration.database.as_ref().to_owned()));
    }
    let events = Events::builder().settings(configuration.events.clone()).build()?;
    let queue = open(configuration, &events, CONNECTIONS).await?;
    let (told, stopped) = watch::channel(false);
    let worker = LastingWorker::new(configuration, &events, &queue);
    let works = async {
        worker.run_until(|| stop(&stopped)).await?;
        close(&queue).await;
        Ok(Ended::Well)
    };
    let told_twice = async {
        shutdown_signal().await;
        told.send_replace(true);
        tracing::info!("stopping; handlers that run may finish");
        shutdown_signal().await;
    };
    tokio::select! {
        ended = works => ended,
        () = told_twice => Ok(Ended::AtOnce),
    }
}

/// Closes the connections of the database, in the end.
pub(crate) async fn close(queue: &Queue) {
    if timeout(LAST_WORDS, queue.pool().close()).await.is_err() {
        tracing::warn!("connections of the database are still in use; they are cut off");
    }
}

/// Opens the database, with the application's and the queue's tables in it: whoever of a service and
/// its workers comes first makes them.
pub(crate) async fn open(
    configuration: &Configuration,
    events: &Events,
    connections: u32,
) -> Result<Queue, StartingError> {
    let queue = database::open(&configuration.database, events, connections).await?;
    schema::create(queue.pool()).await.map_err(StartingError::Schema)?;
    Ok(queue)
}

/// Resolves when it is told to stop; also when whoever would tell is gone.
pub(crate) fn stop(stopped: &watch::Receiver<bool>) -> impl Future<Output = ()> + Send + 'static {
    let mut stopped = stopped.clone();
    async move {
        stopped.wait_for(|stop| *stop).await.ok();
    }
}
