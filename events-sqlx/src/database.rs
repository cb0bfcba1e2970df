//! What the sessions need of a database.

use std::future::Future;
use std::time::Duration;

use events_core::forwarding::Split;
use sqlx::pool::PoolConnection;
use sqlx::{Connection, Database};
use sqlx_core::transaction::TransactionManager;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::error::QueueError;

/// A database that can hold sessions and their tasks. Sealed: implemented for those of this crate.
pub trait EventDatabase: Database + sealed::Sealed {
    /// Where its queue's tables are.
    #[doc(hidden)]
    type Tables: Clone + Send + Sync + 'static;

    /// Where a session's connection goes when it has ended.
    #[doc(hidden)]
    type Place: Send + Sync + 'static;

    /// Gives back the connection of a session that has ended.
    #[doc(hidden)]
    fn give_back(place: &mut Self::Place, connection: PoolConnection<Self>);

    /// Opens a transaction that may write.
    #[doc(hidden)]
    fn begin(
        connection: &mut Self::Connection,
        place: &Self::Place,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Proves that the transaction of [`begin`](Self::begin) is still open, writes the tasks of the
    /// queue and of the outboxes into it and commits it.
    #[doc(hidden)]
    fn commit(
        connection: &mut Self::Connection,
        tables: &Self::Tables,
        tasks: &Split,
    ) -> impl Future<Output = Result<(), QueueError>> + Send;

    /// Proves that the transaction of a session over a borrowed connection is still open and
    /// writes the tasks of the queue and of the outboxes into it.
    #[doc(hidden)]
    fn seal_joined(
        connection: &mut Self::Connection,
        tables: &Self::Tables,
        tasks: &Split,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Whether `error` says that the transaction was gone.
    #[doc(hidden)]
    fn is_lost_transaction(error: &sqlx::Error) -> bool;

    /// The error of a commit that failed at `step`.
    #[doc(hidden)]
    #[must_use]
    fn commit_error(step: &'static str, error: sqlx::Error) -> QueueError {
        match Self::is_lost_transaction(&error) {
            true => QueueError::TransactionLost,
            false => QueueError::database(step, error),
        }
    }
}

pub(crate) mod sealed {
    pub trait Sealed {}

    #[cfg(feature = "sqlite")]
    impl Sealed for sqlx::Sqlite {}

    #[cfg(feature = "postgres")]
    impl Sealed for sqlx::Postgres {}
}

/// How many transactions and savepoints are open, as sqlx counts them. Exact only when the
/// connection has nothing left to do.
pub(crate) fn depth<Db: Database>(connection: &Db::Connection) -> usize {
    <Db::TransactionManager as TransactionManager>::get_transaction_depth(connection)
}

/// Whether sqlx counts the transaction and no savepoint in it.
pub(crate) fn check_depth<Db: Database>(connection: &Db::Connection) -> Result<(), QueueError> {
    match depth::<Db>(connection) {
        1 => Ok(()),
        0 => Err(QueueError::TransactionLost),
        _ => Err(QueueError::SavepointOpen),
    }
}

/// [`depth`], once everything that was sent to the connection before is done.
pub(crate) async fn settled_depth<Db: Database>(
    connection: &mut Db::Connection,
) -> Result<usize, sqlx::Error> {
    connection.ping().await?;
    Ok(depth::<Db>(connection))
}

/// A connection that has not answered for so long is closed instead of going back to its pool.
const RETURNED: Duration = Duration::from_secs(5);

/// Gives back a connection that has nothing left to do.
///
/// sqlx asks a connection whether it is still there before it takes it back, and would wait for
/// the answer without end, with the connection's place in the pool taken.
pub(crate) fn return_to_pool<Db: Database>(mut connection: PoolConnection<Db>) {
    match Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn(timeout(RETURNED, connection.return_to_pool()))),
        // Outside a runtime nobody can ask it.
        Err(_) => drop(connection.detach()),
    }
}

/// The same for one that may be in a transaction: the rollback is sent with the question whether it
/// is still there.
#[cfg(feature = "postgres")] // the sessions of SQLite are rolled back by their one connection
pub(crate) fn roll_back_and_return<Db: Database>(mut connection: PoolConnection<Db>) {
    Db::TransactionManager::start_rollback(&mut connection);
    return_to_pool(connection);
}
