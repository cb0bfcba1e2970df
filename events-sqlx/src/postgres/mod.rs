//! The queue on PostgreSQL.

mod admin;
mod broker;
mod claim;
mod debounce;
mod health;
mod heartbeat;
mod insert;
mod lanes;
mod literal;
mod migrate;
mod moving;
mod notify;
mod options;
mod outbox;
mod own;
#[cfg(test)]
mod plans;
mod postponed;
mod queue;
mod reconcilers;
mod remedy;
mod rescue;
mod row;
mod settle;
mod tables;
mod transaction;

pub(crate) use self::remedy::remedy;
pub use self::{options::PostgresQueueOptions, queue::PostgresQueue, row::PostgresReceipt};
