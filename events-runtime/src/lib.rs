//! The moving parts of events, on tokio.
//!
//! | to                               | use                          |
//! |----------------------------------|------------------------------|
//! | execute tasks in this process    | [`Worker`]                   |
//! | execute one task, as a worker does | [`Executor`]               |
//! | send what waits in an outbox     | [`Relay`]                    |
//! | stop when the system asks for it | [`shutdown_signal`]          |
//! | do without a database            | [`MemoryQueue`]              |
//!
//! A worker claims tasks from a [`Broker`](events_core::Broker), executes each with the
//! subscriber's function, and settles what became of it. It writes a heartbeat three times a
//! lease; a worker that goes silent loses its tasks to others within seconds, and whatever it
//! reports afterwards is refused.

mod checkup;
mod cron;
mod execute;
mod liveness;
mod memory;
mod plan;
mod relay;
mod schedule;
mod settle;
mod signal;
mod statistics;
mod worker;

pub use execute::{Execution, Executor, MissingNeeds, execute_task};
pub use memory::{MemoryQueue, MemoryReceipt, MemorySavepoint, MemorySession};
pub use relay::{Relay, RelayError};
pub use signal::shutdown_signal;
pub use statistics::Statistics;
pub use worker::{Worker, WorkerBuilder, WorkerError};
