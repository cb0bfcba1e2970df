//! The service: users, systems, connections and monitors over HTTP, and the sweep on demand.
//!
//! A request that changes something is one transaction, as everywhere: its commit publishes, and a
//! worker, in this process or another, follows.

pub mod authorization;
mod health;
mod openapi;
mod page;
mod problem;
mod request;
mod router;
mod routes;
mod service;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt as _;
use events_core::Events;
use events_runtime::shutdown_signal;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::configuration::Configuration;
use crate::database::{Queue, SERVICE_CONNECTIONS};
use crate::worker::{LastingWorker, StartingError, close, open, stop};
use service::{Service, Sweeps};

pub use crate::worker::Ended;

/// A service that did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// It could not start.
    #[error(transparent)]
    Starting(#[from] StartingError),
    /// The address is not to be had.
    #[error("`listen`: {address} cannot be listened on; is another service there?")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// No connection can be taken.
    #[error("the service cannot take connections any more")]
    Accept(#[source] io::Error),
}

/// Serves until the process is told to end; `listening` hears where.
///
/// # Errors
/// The database cannot be used, the address cannot be listened on, or the program is wired wrongly.
pub async fn run(
    configuration: &Configuration,
    listening: impl FnOnce(SocketAddr),
) -> Result<Ended, ServeError> {
    let events = Events::builder().settings(configuration.events.clone()).build();
    let events = events.map_err(StartingError::Events)?;
    let queue = open(configuration, &events, SERVICE_CONNECTIONS).await?;
    let (listener, address) = listen(configuration.listen).await?;
    let (stopping, stopped) = watch::channel(false);
    let worker = configuration.worker.then(|| LastingWorker::new(configuration, &events, &queue));
    let sweeps = Arc::new(Sweeps::default());
    let service = Service {
        queue: queue.clone(),
        tokens: Arc::new(configuration.tokens.clone()),
        database: configuration.database.clone(),
        worker: worker.as_ref().map(LastingWorker::standing),
        sweeps: sweeps.clone(),
    };
    let place = if worker.is_some() { "inside" } else { "apart" };
    tracing::info!(%address, database = configuration.database.shown(), worker = place, "serving");
    listening(address);
    let mut running = Running {
        requests: tokio::spawn(answer(listener, service, stopped.clone())),
        worker: tokio::spawn(work(worker, stopped)),
        queue,
    };
    tokio::select! {
        ended = &mut running.requests => {
            ended.unwrap_or_else(|panic| Err(io::Error::other(panic))).map_err(ServeError::Accept)?;
            return Ok(Ended::Well);
        }
        () = shutdown_signal() => {}
    }
    stopping.send_replace(true);
    sweeps.stopping.cancel(); // one of many monitors would take longer than there is time
    tracing::info!("stopping; requests and handlers that run may finish");
    tokio::select! {
        () = running.end(configuration.shutdown_grace) => Ok(Ended::Well),
        () = shutdown_signal() => Ok(Ended::AtOnce),
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let refused = |source| ServeError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok((listener, address))
}

async fn answer(
    listener: TcpListener,
    service: Service,
    stopped: watch::Receiver<bool>,
) -> io::Result<()> {
    // An answer is small and somebody waits for it.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, router::router(service)).with_graceful_shutdown(stop(&stopped)).await
}

async fn work(worker: Option<LastingWorker>, stopped: watch::Receiver<bool>) {
    let Some(worker) = worker else { return };
    if let Err(error) = worker.run_until(|| stop(&stopped)).await {
        tracing::error!(error = &error as &dyn std::error::Error, "the worker cannot run");
    }
}

/// What runs while the service serves.
struct Running {
    requests: JoinHandle<io::Result<()>>,
    worker: JoinHandle<()>,
    queue: Queue,
}

impl Running {
    /// Waits for what was told to stop. Requests and the worker have the same time, side by side:
    /// orchestrators give a process one, and what a last request publishes other workers do.
    async fn end(self, grace: Duration) {
        let (requests, worker) = tokio::join!(timeout(grace, self.requests), self.worker);
        if requests.is_err() {
            tracing::warn!(
                "requests that did not finish in time are cut off; what has not committed is rolled \
                 back"
            );
        }
        if let Err(panic) = worker {
            tracing::error!(error = &panic as &dyn std::error::Error, "the worker panicked");
        }
        close(&self.queue).await;
        tracing::info!("stopped");
    }
}
