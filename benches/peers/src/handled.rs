//! What the handlers of all contenders do: nothing, but for being counted and, where latency is
//! measured, saying when they started. One contender runs in a process, so this is one place.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::Failed;
use crate::job::Job;

static COUNT: AtomicU64 = AtomicU64::new(0);
static STARTS: OnceLock<UnboundedSender<Start>> = OnceLock::new();

/// A handler was started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    pub(crate) number: u64,
    /// Nanoseconds since the epoch: processes of one machine agree on them.
    pub(crate) at: u64,
}

/// Called by each handler, first.
pub(crate) fn note(number: u64) {
    if let Some(starts) = STARTS.get() {
        starts.send(Start { number, at: now() }).ok();
    }
    COUNT.fetch_add(1, Ordering::Relaxed);
}

/// As [`note`], for handlers that hold only the text.
pub(crate) fn note_payload(payload: &str) {
    match STARTS.get() {
        Some(_) => note(serde_json::from_str::<Job>(payload).map_or(0, |job| job.number)),
        None => {
            std::hint::black_box(payload);
            COUNT.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// From now on handlers say when they start.
///
/// # Panics
///
/// If asked twice.
pub(crate) fn starts() -> UnboundedReceiver<Start> {
    let (sender, receiver) = unbounded_channel();
    assert!(STARTS.set(sender).is_ok(), "starts are listened to once");
    receiver
}

/// Waits until as many handlers have been called.
pub(crate) async fn wait_for(count: u64) -> Result<(), Failed> {
    while COUNT.load(Ordering::Relaxed) < count {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// Nanoseconds since the epoch.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
