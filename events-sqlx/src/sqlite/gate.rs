//! Whose turn it is to write, among those in this process.
//!
//! SQLite has one writer. Connections that find it taken sleep and try again, and who tries first
//! after it is free wins; under load some starve. In front of it, this gate is fair.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqliteConnection, SqlitePool};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::QueueError;

type Connection = PoolConnection<Sqlite>;

#[derive(Debug)]
pub(super) struct Gate {
    turn: Arc<Semaphore>,
    patience: Duration,
    /// The connection of the queue's own statements, while none of them runs.
    idle: Mutex<Option<Connection>>,
}

impl Gate {
    pub(super) fn new(patience: Duration) -> Self {
        Self { turn: Arc::new(Semaphore::new(1)), patience, idle: Mutex::new(None) }
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

    /// Waits for the turn to write a statement of the queue's own. `step` completes "the database
    /// could not …".
    pub(super) async fn writer(
        &self,
        own: &SqlitePool,
        step: &'static str,
    ) -> Result<Writer<'_>, QueueError> {
        let turn = self.enter().await?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let connection = match idle {
            Some(connection) => connection,
            None => own.acquire().await.map_err(|error| QueueError::database(step, error))?,
        };
        Ok(Writer { connection: Some(connection), home: &self.idle, _turn: turn })
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let idle = self.idle.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // A connection returns to its pool in a task of the runtime. Without one, it is closed.
        if let Some(connection) = idle
            && Handle::try_current().is_err()
        {
            drop(connection.detach());
        }
    }
}

/// A connection of the queue's own, with the turn to write.
///
/// One that is not [`finish`](Self::finish)ed, because something failed, is closed: an error that
/// rolls back leaves sqlx's count of transactions wrong for good.
pub(super) struct Writer<'g> {
    connection: Option<Connection>,
    home: &'g Mutex<Option<Connection>>,
    _turn: OwnedSemaphorePermit,
}

const HELD: &str = "held until the writer is finished";

impl Writer<'_> {
    /// All went well: the next writer may use the connection.
    pub(super) fn finish(mut self) {
        *self.home.lock().unwrap_or_else(PoisonError::into_inner) = self.connection.take();
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.close_on_drop();
        }
    }
}

impl Deref for Writer<'_> {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        self.connection.as_deref().expect(HELD)
    }
}

impl DerefMut for Writer<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        self.connection.as_deref_mut().expect(HELD)
    }
}
