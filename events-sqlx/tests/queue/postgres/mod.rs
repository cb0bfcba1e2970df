//! PostgreSQL, on real servers. A time-out here only keeps a failure from hanging.

mod support;
mod wire;

mod cancellation;
mod connections;
mod faults;
mod forwarding;
mod health;
mod joining;
mod leases;
mod lost;
mod opening;
mod sessions;
mod timeouts;
mod waking;
