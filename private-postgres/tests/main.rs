//! What the package promises, on real servers.

mod program;
mod server;
