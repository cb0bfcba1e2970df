//! Sessions and the durable queue of `events-core` in the application's own database.
//!
//! The tasks of a committed session are rows of its transaction: nothing is lost between commit
//! and dispatch, whatever dies.
//!
//! ```
//! # use events_core::Events;
//! # use events_sqlx::SqliteQueue;
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("app.db");
//! let events = Events::builder().build()?;
//! let queue = SqliteQueue::open(path, &events).await?;
//! let mut session = queue.begin().await?;
//! sqlx::query("CREATE TABLE systems (id TEXT PRIMARY KEY)").execute(session.connection()).await?;
//! // … `publish_after_commit(&mut session, …)?` in a function marked `#[publishes]` …
//! session.commit().await?;
//! # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! | you have                    | you use                                            |
//! |-----------------------------|----------------------------------------------------|
//! | a file                      | [`SqliteQueue::open`], [`SqliteQueueOptions`]      |
//! | a server                    | `PostgresQueue::connect`, `PostgresQueueOptions` (feature `postgres`) |
//! | a pool of your own          | [`SqliteQueue::with_pool`], `PostgresQueue::with_pool` |
//! | a migration tool of your own | `PostgresQueue::migrations`                        |
//! | a unit of work              | [`EventTransaction`], [`Savepoint`]                |
//! | a plain `sqlx` transaction  | [`SqliteQueue::join`], [`JoinedSession`]           |
//! | a worker                    | [`SqliteQueue`] as its [`Broker`](events_core::Broker) |
//! | dead letters                | [`SqliteQueue`] as [`Admin`](events_core::Admin)   |
//! | another broker for some queues | [`SqliteQueueOptions::forward`], [`SqliteQueue`] as [`Outbox`](events_core::Outbox) |
//!
//! What each database means as a queue, such as SQLite's one writer, is told at [`SqliteQueue`] and
//! `PostgresQueue`.

mod after_commit;
mod database;
mod error;
mod jitter;
mod joined;
mod outbox;
#[cfg(feature = "postgres")]
mod postgres;
mod savepoint;
mod signal;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "postgres")]
mod standby;
mod transaction;

#[cfg(feature = "postgres")]
pub use self::postgres::{PostgresQueue, PostgresQueueOptions, PostgresReceipt};
#[cfg(feature = "sqlite")]
pub use self::sqlite::{SqliteQueue, SqliteQueueOptions, SqliteReceipt, Synchronous};
pub use self::{
    database::EventDatabase, error::QueueError, joined::JoinedSession, savepoint::Savepoint,
    transaction::EventTransaction,
};
#[cfg(feature = "postgres")]
pub use sqlx::{PgConnection, PgPool, Postgres};
#[cfg(feature = "sqlite")]
pub use sqlx::{Sqlite, SqliteConnection, SqlitePool};
