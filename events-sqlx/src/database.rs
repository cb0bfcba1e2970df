//! What the sessions need of a database.

use std::future::Future;

use events_core::Task;
use sqlx::{Connection, Database};
use sqlx_core::transaction::TransactionManager;

/// A database that can hold sessions and their tasks. Sealed: implemented for those of this crate.
pub trait EventDatabase: Database + sealed::Sealed {
    /// Opens a transaction that may write, and in it a savepoint that proves later that it is
    /// still the same transaction.
    #[doc(hidden)]
    const BEGIN: &'static str;

    /// Proves that the transaction of [`BEGIN`](Self::BEGIN) is still open and writes the tasks
    /// into it, in one round trip.
    #[doc(hidden)]
    fn seal(
        connection: &mut Self::Connection,
        tasks: &[Task],
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// As [`seal`](Self::seal), for a session over a borrowed connection.
    #[doc(hidden)]
    fn seal_joined(
        connection: &mut Self::Connection,
        tasks: &[Task],
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Whether `error` says that the transaction was gone.
    #[doc(hidden)]
    fn is_lost_transaction(error: &sqlx::Error) -> bool;
}

pub(crate) mod sealed {
    pub trait Sealed {}

    #[cfg(feature = "sqlite")]
    impl Sealed for sqlx::Sqlite {}
}

/// How many transactions and savepoints are open, as sqlx counts them. Exact only when the
/// connection has nothing left to do.
pub(crate) fn depth<Db: Database>(connection: &Db::Connection) -> usize {
    <Db::TransactionManager as TransactionManager>::get_transaction_depth(connection)
}

/// [`depth`], once everything that was sent to the connection before is done.
pub(crate) async fn settled_depth<Db: Database>(
    connection: &mut Db::Connection,
) -> Result<usize, sqlx::Error> {
    connection.ping().await?;
    Ok(depth::<Db>(connection))
}
