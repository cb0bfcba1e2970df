//! Child processes that end when the program that started them does: returned, panicked or killed.
//!
//! ```
//! use guarded_process::Guardian;
//!
//! let guardian = Guardian::start(None)?;
//! let mut command = guardian.command("sleep")?;
//! command.arg("3600");
//! let mut sleep = guardian.spawn(command)?; // whatever happens now, it does not sleep for an hour
//! assert!(!sleep.has_ended());
//! sleep.kill()?;
//! # std::io::Result::Ok(())
//! ```
//!
//! Each child leads a process group of its own, and what it starts ends with it. Nothing here is
//! graceful, and what a killed process leaves behind must be in one folder: a server that needs more,
//! as PostgreSQL does with its shared memory, wants a guardian that knows it.

mod guardian;
mod process;
mod server_program;

pub use self::{guardian::Guardian, process::Process, server_program::ServerProgram};
