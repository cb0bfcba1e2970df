//! Whose turn it is to write, among those in this process.
//!
//! SQLite has one writer. Connections that find it taken sleep and try again, and who tries first
//! after it is free wins; under load some starve. In front of it, this gate is fair.
//!
//! Sessions, of which there may be any number, wait in a line whose first alone waits for the turn.
//! The queue's own statements, of which there are few at a time, wait for the turn at once: before
//! a heartbeat come the session that writes and the one that is next, however many want to.
//!
//! Nobody waits for a connection while it has the turn: the connections may be held by those who
//! do not write, for as long as they like.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqliteConnection, SqlitePool};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::QueueError;

type Connection = PoolConnection<Sqlite>;

const NEVER_CLOSED: &str = "the semaphore is never closed";
const BEGIN: &str = "begin a transaction";

#[derive(Debug)]
pub(super) struct Gate {
    /// The place of the session that is next.
    line: Semaphore,
    turn: Arc<Semaphore>,
    patience: Duration,
    /// The connection of the queue's own statements, while none of them runs.
    idle: Mutex<Option<Connection>>,
}

impl Gate {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            line: Semaphore::new(1),
            turn: Arc::new(Semaphore::new(1)),
            patience,
            idle: Mutex::new(None),
        }
    }

    /// Waits, in order of asking, for a connection to begin a session on and then for the turn to
    /// write.
    pub(super) async fn session(
        &self,
        pool: &SqlitePool,
    ) -> Result<(Connection, OwnedSemaphorePermit), QueueError> {
        let next = async {
            // Held until the turn has come. So the line as a whole has one connection at most.
            let _place = self.line.acquire().await.expect(NEVER_CLOSED);
            let connection = pool.acquire().await?;
            let turn = self.turn.clone().acquire_owned().await.expect(NEVER_CLOSED);
            Ok((connection, turn))
        };
        match tokio::time::timeout(self.patience, next).await {
            Ok(next) => next.map_err(|error| QueueError::database(BEGIN, error)),
            Err(_) => Err(self.too_late(pool)),
        }
    }

    /// Why a session's turn has not come in time.
    fn too_late(&self, pool: &SqlitePool) -> QueueError {
        let connections = pool.options().get_max_connections();
        let nobody_writes = self.turn.available_permits() > 0;
        if nobody_writes && pool.num_idle() == 0 && pool.size() >= connections {
            tracing::warn!(connections, waited = ?self.patience,
                "no session could begin, for every connection of the application's pool is in use");
            return QueueError::database(BEGIN, sqlx::Error::PoolTimedOut);
        }
        QueueError::WriterBusy { waited: self.patience }
    }

    /// Waits for the turn to write, in order of asking.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, QueueError> {
        if let Ok(turn) = self.turn.clone().try_acquire_owned() {
            return Ok(turn);
        }
        match tokio::time::timeout(self.patience, self.turn.clone().acquire_owned()).await {
            Ok(turn) => Ok(turn.expect(NEVER_CLOSED)),
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
        let turn = self.turn().await?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (connection, turn) = match idle {
            Some(connection) => (connection, turn),
            None => {
                drop(turn);
                let connection =
                    own.acquire().await.map_err(|error| QueueError::database(step, error))?;
                (connection, self.turn().await?)
            }
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
        let mut home = self.home.lock().unwrap_or_else(PoisonError::into_inner);
        // Two that opened a connection each leave one; the other goes back to the pool.
        let other = std::mem::replace(&mut *home, self.connection.take());
        drop(home);
        drop(other);
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
