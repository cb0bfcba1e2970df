//! Notices the commits of other processes.
//!
//! SQLite tells a connection in a few microseconds, and without a lock, whether somebody else has
//! committed since it last asked. One connection asks for all clones of the queue, and only while
//! somebody waits: every few milliseconds while commits come, less often when it is quiet.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::SqlitePool;
use sqlx::pool::PoolConnection;
use tokio::task::JoinHandle;

use crate::jitter::jitter;
use crate::signal::Signal;

/// The pause between two looks while commits come, and its growth when they do not: a part of the
/// time since the last one. A look costs some ten microseconds of two threads, so that an idle
/// worker that looks 20 times a second needs a small part of a percent of a core.
const SHORTEST_PAUSE: Duration = Duration::from_millis(4);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
const PAUSE_PER_QUIET_TIME: f64 = 0.05;

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
    let mut quiet_since = Instant::now();
    loop {
        signal.wanted().await;
        match look(&own, &mut watcher).await {
            Ok(changed) => {
                if changed {
                    signal.notify();
                    quiet_since = Instant::now();
                }
                tokio::time::sleep(pause(quiet_since.elapsed())).await;
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

/// Spread by jitter, so that processes do not look in step.
fn pause(quiet: Duration) -> Duration {
    let pause = quiet.mul_f64(PAUSE_PER_QUIET_TIME).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
    pause.mul_f64(0.75 + 0.5 * jitter())
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
