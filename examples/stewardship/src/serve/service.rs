//! What the handlers of requests share: the queue, with its transactions, and who may do what.

use std::sync::Arc;
use std::time::Duration;

use events_core::context::CancellationSource;
use sqlx::pool::PoolConnection;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::authorization::Tokens;
use super::problem::Problem;
use crate::database::{Database, Location, Queue};
use crate::repositories::{Session, StoreError};
use crate::worker::Standing;

/// How often a change is made from its start again because another transaction stood in its way.
const MOST_CONFLICTS: u32 = 8;

/// How long a request waits for its turn at the database. Who waits longer is told to come again,
/// instead of being one more who waits.
const TURN: Duration = Duration::from_secs(5);

/// The service, for one request. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(super) queue: Queue,
    pub(super) tokens: Arc<Tokens>,
    pub(super) database: Location,
    /// The worker inside this process, if it is to have one.
    pub(super) worker: Option<Standing>,
    pub(super) sweeps: Arc<Sweeps>,
}

/// The sweeps on demand of this process: one at a time, until it is to stop.
#[derive(Debug)]
pub(crate) struct Sweeps {
    turn: Semaphore,
    pub(super) stopping: CancellationSource,
}

impl Default for Sweeps {
    fn default() -> Self {
        Self { turn: Semaphore::new(1), stopping: CancellationSource::new() }
    }
}

impl Sweeps {
    /// The turn of one sweep, until it is dropped. Each keeps the database busy, and a second one
    /// would find nothing that the first does not.
    pub(super) fn begin(&self) -> Result<SemaphorePermit<'_>, Problem> {
        let turn = self.turn.try_acquire();
        turn.map_err(|_| Problem::unavailable("a sweep is running; try again when it is done"))
    }
}

/// Makes a change in one transaction, whose commit publishes what it has changed, and gives what it
/// made. If another transaction stood in its way, it is made again from its start.
///
/// A macro and no function that takes a closure: the compiler cannot tell yet of the future of such a
/// function that it may be sent to another thread, as that of a handler must be.
macro_rules! change {
    ($service:expr, |$session:ident| $change:expr) => {
        async {
            let mut attempts = $service.attempts();
            loop {
                let mut transaction = attempts.begin().await?;
                let $session = &mut transaction;
                let made = $change.await;
                if let Some(made) = attempts.end(transaction, made).await? {
                    break Ok::<_, $crate::serve::problem::Problem>(made);
                }
            }
        }
        .await
    };
}

pub(super) use change;

/// The attempts at one change.
pub(super) struct Attempts<'s> {
    queue: &'s Queue,
    conflicts: u32,
}

impl Attempts<'_> {
    pub(super) async fn begin(&self) -> Result<Session, Problem> {
        match timeout(TURN, self.queue.begin()).await {
            Ok(begun) => Ok(begun?),
            Err(_) => Err(no_turn()),
        }
    }

    /// Commits what was made, or rolls back. `None` if that was a conflict: it is to be made again.
    pub(super) async fn end<T>(
        &mut self,
        session: Session,
        made: Result<T, StoreError>,
    ) -> Result<Option<T>, Problem> {
        let (conflict, problem) = match made {
            Ok(made) => match session.commit().await {
                Ok(()) => return Ok(Some(made)),
                Err(error) => (error.is_busy(), Problem::of_commit(&error)),
            },
            Err(error) => {
                session.rollback().await.ok(); // the error is what there is to tell
                (error.is_conflict(), Problem::from(error))
            }
        };
        if !conflict || self.conflicts == MOST_CONFLICTS {
            return Err(problem);
        }
        self.conflicts += 1;
        Ok(None)
    }
}

impl Service {
    pub(super) fn attempts(&self) -> Attempts<'_> {
        Attempts { queue: &self.queue, conflicts: 0 }
    }

    /// A connection to read with.
    pub(super) async fn connection(&self) -> Result<PoolConnection<Database>, Problem> {
        match timeout(TURN, self.queue.pool().acquire()).await {
            Ok(acquired) => Ok(acquired?),
            Err(_) => Err(no_turn()),
        }
    }
}

fn no_turn() -> Problem {
    Problem::unavailable("the database does not answer; try again")
}
