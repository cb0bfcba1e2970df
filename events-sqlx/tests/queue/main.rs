//! What each queue promises beyond the contract that every broker keeps.

#![allow(clippy::unwrap_used)] // helpers of tests are not exempt by themselves

mod cancel;
mod forwarded;
mod program;

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
