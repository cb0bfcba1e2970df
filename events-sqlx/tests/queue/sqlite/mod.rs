//! SQLite.

mod support;

mod cancellation;
mod claims;
mod forwarding;
mod hands;
mod lost;
mod opening;
mod operators;
mod rescue;
mod sessions;
mod turns;
mod waking;
