//! The reference application: a data-governance service in which monitors inherit data stewards
//! from the systems they watch.
//!
//! | to see how                          | read                                       |
//! |-------------------------------------|--------------------------------------------|
//! | events are declared                 | [`events`]                                 |
//! | repositories publish what changed   | [`repositories`]                           |
//! | handlers converge the derived rows  | [`propagation`], [`inheritance`], [`statistics`] |
//! | lost events are made up for         | [`reconcile`], [`sweep`]                   |
//! | SQLite or PostgreSQL is chosen      | [`database`]                               |
//! | an application and workers start    | [`replay`]                                 |
//! | a service answers over HTTP         | [`serve`], [`configuration`]               |
//! | a worker runs apart                 | [`worker`]                                 |
//! | the wiring is inspected             | [`catalog`]                                |
//!
//! [`change_log`] and [`generate`] are about the replay's input, [`cli`] is the command line.

pub mod catalog;
pub mod change_log;
pub mod cli;
pub mod configuration;
pub mod database;
pub mod events;
pub mod generate;
pub mod inheritance;
pub mod propagation;
pub mod reconcile;
pub mod replay;
pub mod repositories;
pub mod schema;
pub mod serve;
pub mod settings;
pub mod statistics;
pub mod sweep;
mod telemetry;
pub mod worker;
