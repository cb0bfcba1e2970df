//! The queue on SQLite.

mod admin;
mod broker;
mod claim;
mod debounce;
mod gate;
mod heartbeat;
mod insert;
mod lanes;
mod migrate;
mod moving;
mod options;
mod outbox;
#[cfg(test)]
mod plans;
mod poll;
mod queue;
mod reconcilers;
mod rescue;
mod row;
mod settle;
mod transaction;

pub use self::{
    options::{SqliteQueueOptions, Synchronous},
    queue::SqliteQueue,
    row::SqliteReceipt,
};
