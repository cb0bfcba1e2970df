//! The lease that a relay holds, as long as it does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use events_core::broker::BrokerError;
use events_core::outbox::{Outbox, OutboxLease};
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// After a renewal that failed, in parts of the lease.
const RENEW_AGAIN: u32 = 10;

/// How long one renewal is waited for, in parts of the lease, and at least: its connection may be one
/// that the network has swallowed, and another works.
const PATIENCE: u32 = 4;
const LEAST_PATIENCE: Duration = Duration::from_millis(500);

/// A lease, and until when it holds by this process's own clock, which nobody sets and which goes
/// on while the process is stopped.
#[derive(Debug)]
pub(crate) struct Holding {
    lease: OutboxLease,
    term: Duration,
    until: Mutex<Instant>,
    /// Whether another server may have taken over since the last read.
    doubt: AtomicBool,
}

impl Holding {
    /// A lease that was asked for at this time.
    pub(crate) fn new(lease: OutboxLease, term: Duration, asked: Instant) -> Self {
        Self { lease, term, until: Mutex::new(asked + term), doubt: AtomicBool::new(true) }
    }

    pub(crate) fn lease(&self) -> &OutboxLease {
        &self.lease
    }

    pub(crate) fn term(&self) -> Duration {
        self.term
    }

    fn until(&self) -> Instant {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It was renewed by what was asked for at this time.
    pub(crate) fn renewed(&self, asked: Instant) {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        *until = (asked + self.term).max(*until);
    }

    /// Whether nobody can have taken over yet.
    pub(crate) fn is_certain(&self) -> bool {
        Instant::now() < self.until()
    }

    /// Another server may have taken over: the numbers of rows may be those of others by now.
    pub(crate) fn doubt(&self) {
        self.doubt.store(true, Ordering::Relaxed);
    }

    /// Whether that is so, since this was asked last.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.doubt.swap(false, Ordering::Relaxed)
    }

    /// Renews the lease when a third of it is over, again and again. Resolves when it is lost.
    pub(crate) async fn keep<O: Outbox>(&self, outbox: &O) {
        loop {
            sleep_until(self.until() - self.term * 2 / 3).await;
            match self.renew(outbox).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    self.doubt();
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        outbox = &*self.lease.outbox,
                        "the lease of an outbox could not be renewed; trying again"
                    );
                    sleep(self.term / RENEW_AGAIN).await;
                }
            }
        }
    }

    /// Renews the lease. Whether it is still held; in doubt it is.
    pub(crate) async fn renew<O: Outbox>(&self, outbox: &O) -> Result<bool, BrokerError> {
        let asked = Instant::now();
        let patience = (self.term / PATIENCE).max(LEAST_PATIENCE);
        let Ok(held) = timeout(patience, outbox.renew_outbox(&self.lease, self.term)).await else {
            self.doubt();
            tracing::debug!(
                outbox = &*self.lease.outbox,
                "the lease of an outbox was not renewed in time; trying again"
            );
            return Ok(true);
        };
        let held = held?;
        if held {
            self.renewed(asked);
        }
        Ok(held)
    }
}
