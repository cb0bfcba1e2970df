//! What the queue on SQLite promises beyond the contract that every broker keeps.

#![allow(clippy::unwrap_used)] // helpers of tests are not exempt by themselves

mod support;

mod cancellation;
mod claims;
mod hands;
mod lost;
mod opening;
mod operators;
mod rescue;
mod sessions;
mod turns;
mod waking;
