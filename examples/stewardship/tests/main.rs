//! The reference application, seen from outside: its commands, their output and exit codes, and the
//! rows they leave.

#![allow(clippy::unwrap_used)] // in a helper, too, it fails the test

events_core::link_subscribers!(stewardship);

mod battery;
mod cascades;
mod commands;
mod convergence;
mod databases;
mod harness;
mod interruption;
mod parsing;
mod refusals;
mod repositories;
#[cfg(unix)]
mod serve;
#[cfg(feature = "postgres")]
mod side_by_side;
mod statistics;
mod sweeps;
