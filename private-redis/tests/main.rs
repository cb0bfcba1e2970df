//! What the package promises, on real servers.

mod program;
mod sentinel;
mod server;
