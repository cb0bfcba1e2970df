//! The service and its workers, as processes: what is sent over HTTP, answered, logged and stored.

mod authorization;
mod changes;
mod configuration;
mod document;
mod health;
mod logs;
mod monitors;
mod process;
mod readme;
mod reconcile;
mod refusals;
mod shutdown;
mod workers;
