//! Who may change what. Each module owns the mutations of one part of the state and publishes what
//! changed, and only if something did; and what may be read of it.

pub mod connections;
pub mod links;
pub mod monitor_stewards;
pub mod monitors;
pub mod operations;
pub mod system_stewards;
pub mod systems;
pub mod users;

use std::fmt;

use events_core::PublishError;
use events_sqlx::EventTransaction;

use crate::database::{self, Connection, Database};

/// The session that all mutations take: an open transaction.
pub type Session = EventTransaction<Database>;

/// A mutation that did not happen. Roll the transaction back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It names something that does not exist.
    #[error("{what} {id:?} is unknown; create it first")]
    Unknown {
        /// What kind of thing.
        what: Thing,
        /// What it was called.
        id: String,
    },
    /// It creates something that exists.
    #[error("{what} {id:?} exists already")]
    Exists {
        /// What kind of thing.
        what: Thing,
        /// What it was called.
        id: String,
    },
    /// What it would publish is no valid event.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The database does not take one of its values.
    #[error("the database does not take a value: {0}")]
    Value(String),
    /// The database failed.
    #[error("the database could not execute a statement")]
    Database(#[source] sqlx::Error),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match database::refusal(&error) {
            Some(reason) => Self::Value(reason),
            None => Self::Database(error),
        }
    }
}

impl StoreError {
    /// Whether the mutation was refused for what it asked: trying it again cannot help.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        !matches!(self, Self::Database(_))
    }

    /// Whether another transaction stood in the way: the same again, from the start, may succeed.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Database(error) if database::is_conflict(error))
    }
}

/// The kinds of things that mutations name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thing {
    /// A row of `users`.
    User,
    /// A row of `systems`.
    System,
    /// A row of `connection_configs`.
    Connection,
    /// A row of `monitor_configs`.
    Monitor,
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::System => "system",
            Self::Connection => "connection",
            Self::Monitor => "monitor",
        })
    }
}

impl Thing {
    const fn exists_sql(self) -> &'static str {
        match self {
            Self::User => "SELECT EXISTS (SELECT 1 FROM users WHERE id = $1)",
            Self::System => "SELECT EXISTS (SELECT 1 FROM systems WHERE id = $1)",
            Self::Connection => "SELECT EXISTS (SELECT 1 FROM connection_configs WHERE id = $1)",
            Self::Monitor => "SELECT EXISTS (SELECT 1 FROM monitor_configs WHERE key = $1)",
        }
    }

    const fn delete_sql(self) -> &'static str {
        match self {
            Self::User => "DELETE FROM users WHERE id = $1",
            Self::System => "DELETE FROM systems WHERE id = $1",
            Self::Connection => "DELETE FROM connection_configs WHERE id = $1",
            Self::Monitor => "DELETE FROM monitor_configs WHERE key = $1",
        }
    }

    /// Deletes it, and what refers to it as the tables say.
    async fn delete(self, session: &mut Session, id: &str) -> Result<(), StoreError> {
        let deleted = sqlx::query(self.delete_sql()).bind(id).execute(&mut **session).await?;
        if deleted.rows_affected() > 0 { Ok(()) } else { Err(self.unknown(id)) }
    }

    /// Refuses what names something that does not exist.
    async fn require(self, connection: &mut Connection, id: &str) -> Result<(), StoreError> {
        let exists: bool =
            sqlx::query_scalar(self.exists_sql()).bind(id).fetch_one(connection).await?;
        if exists { Ok(()) } else { Err(self.unknown(id)) }
    }

    fn unknown(self, id: &str) -> StoreError {
        StoreError::Unknown { what: self, id: id.to_owned() }
    }

    /// Refuses what was to create something and did not insert a row, or one that nobody could name.
    fn created(self, id: &str, inserted: u64) -> Result<(), StoreError> {
        if id.is_empty() {
            return Err(StoreError::Value(format!("the name of a {self} is not empty")));
        }
        if inserted > 0 {
            Ok(())
        } else {
            Err(StoreError::Exists { what: self, id: id.to_owned() })
        }
    }
}
