//! The contract suite, per broker.

mod memory;
mod postgres;
mod redis;
mod sqlite;

pub(crate) use memory::Memory;
pub(crate) use postgres::PostgresDatabase;
pub(crate) use sqlite::SqliteFile;
