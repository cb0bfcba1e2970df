//! A PostgreSQL server that belongs to the program that starts it.
//!
//! It is made from the binaries on this machine, listens on a socket in a folder of its own and
//! nowhere else, and is gone, with its folder, when the program is: returned, panicked or killed.
//!
//! ```
//! use private_postgres::Server;
//!
//! let database = Server::shared().create_database(); // one server per program, one database per test
//! assert!(database.url().starts_with("postgresql://postgres@"));
//! ```
//!
//! A test that kills or restarts the server starts one of its own with [`Server::start`].
//!
//! The binaries are looked for in the folder that the environment variable `POSTGRES_BIN` names;
//! without it in `PATH`, where the packages of Debian, Fedora and Homebrew put them, and where
//! `pg_config` says. Everything here blocks: call it before the test's work, or from
//! `spawn_blocking`.

mod account;
mod binaries;
mod client;
mod database;
mod error;
mod guardian;
mod process;
mod server;
mod settings;

pub use self::{
    database::Database,
    error::Error,
    server::{Mode, Server},
    settings::Settings,
};
