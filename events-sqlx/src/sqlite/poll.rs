//! Notices the commits of other processes.
//!
//! SQLite tells a connection in a few microseconds, and without a lock, whether somebody else has
//! committed since it last asked. One connection asks for all clones of the queue, every few
//! milliseconds and only while somebody waits.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::SqlitePool;
use sqlx::pool::PoolConnection;
use tokio::task::JoinHandle;

use super::rescue::jitter;
use crate::signal::Signal;

/// The mean pause between two looks; each is spread over half of it, so that processes do not look
/// in step.
const PAUSE: Duration = Duration::from_millis(5);

/// The pause after a look that failed.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// The task that looks, started by the first who waits and ended with the queue.
#[derive(Debug, Default)]
pub(super) struct Poller(Mutex<Option<JoinHandle<()>>>);

impl Poller {
    pub(super) fn ensure_running(&self, own: &SqlitePool, signal: &Arc<Signal>) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // It may have ended with the runtime that it was started on.
        if running.as_ref().is_none_or(JoinHandle::is_finished) {
            *running = Some(tokio::spawn(watch(own.clone(), signal.clone())));
        }
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        if let Some(running) = self.0.get_mut().unwrap_or_else(PoisonError::into_inner) {
            running.abort();
        }
    }
}

async fn watch(own: SqlitePool, signal: Arc<Signal>) {
    let mut watcher: Option<(PoolConnection<sqlx::Sqlite>, i64)> = None;
    loop {
        signal.wanted().await;
        match look(&own, &mut watcher).await {
            Ok(false) => tokio::time::sleep(PAUSE.mul_f64(0.75 + 0.5 * jitter())).await,
            Ok(true) => {
                signal.notify();
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot look for other processes' commits; workers find them by polling"
                );
                watcher = None;
                tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
            }
        }
    }
}

/// Whether anybody has committed since the last look; the first look always says so.
async fn look(
    own: &SqlitePool,
    watcher: &mut Option<(PoolConnection<sqlx::Sqlite>, i64)>,
) -> Result<bool, sqlx::Error> {
    if watcher.is_none() {
        *watcher = Some((own.acquire().await?, i64::MIN));
    }
    let Some((connection, last)) = watcher else { return Ok(false) };
    let version: i64 =
        sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut **connection).await?;
    Ok(std::mem::replace(last, version) != version)
}
