//! PostgreSQL, on real servers. A time-out here only keeps a failure from hanging.

mod support;
mod wire;

mod joining;
mod lost;
mod sessions;
