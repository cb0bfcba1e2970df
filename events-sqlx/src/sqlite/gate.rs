//! Whose turn it is to write, among those in this process.
//!
//! SQLite has one writer. Connections that find it taken sleep and try again, and who tries first
//! after it is free wins; under load some starve. In front of it, this gate is fair.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::QueueError;

#[derive(Debug)]
pub(super) struct Gate {
    turn: Arc<Semaphore>,
    patience: Duration,
}

impl Gate {
    pub(super) fn new(patience: Duration) -> Self {
        Self { turn: Arc::new(Semaphore::new(1)), patience }
    }

    /// Waits for the turn to write, in order of asking.
    pub(super) async fn enter(&self) -> Result<OwnedSemaphorePermit, QueueError> {
        if let Ok(turn) = self.turn.clone().try_acquire_owned() {
            return Ok(turn);
        }
        match tokio::time::timeout(self.patience, self.turn.clone().acquire_owned()).await {
            Ok(turn) => Ok(turn.expect("the semaphore is never closed")),
            Err(_) => Err(QueueError::WriterBusy { waited: self.patience }),
        }
    }
}
