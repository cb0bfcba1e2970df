//! A Redis server that belongs to the program that starts it.
//!
//! It is made from the binaries on this machine, listens on a port of 127.0.0.1 and nowhere else, and
//! is gone, with its folder, when the program is: returned, panicked or killed.
//!
//! ```
//! use private_redis::Server;
//!
//! let database = Server::shared().database(); // one server per program, one database per test
//! database.cli(&["SET", "name", "value"])?;
//! assert!(database.url().starts_with("redis://127.0.0.1:"));
//! # Ok::<(), private_redis::Error>(())
//! ```
//!
//! Databases separate keys, not messages: every database of a server hears every channel.
//!
//! A test that kills or stops the server starts one of its own with [`Server::start`], and one of
//! failover starts a [`Sentinel`]. Messages of a killed server survive if [`Settings`] say so.
//!
//! The binaries are looked for in the folder that the environment variable `REDIS_BIN` names;
//! without it in `PATH`. Everything here blocks: call it before the test's work, or from
//! `spawn_blocking`.

mod binaries;
mod certificates;
mod database;
mod error;
mod port;
mod process;
mod sentinel;
mod server;
mod settings;

pub use self::{
    database::Database,
    error::Error,
    sentinel::Sentinel,
    server::Server,
    settings::{AppendOnlyFile, Settings},
};
