//! The command line of the reference application.

use std::process::ExitCode;

use clap::Parser;
use stewardship::cli::{Cli, Exit};

// The handlers live in the library; a crate that nobody names would not be linked.
events_core::link_subscribers!(stewardship);

fn main() -> ExitCode {
    let exit = match Cli::try_parse() {
        Ok(cli) => cli.run(),
        Err(told) => {
            told.print().ok(); // nobody may be listening
            // Help and version are asked for; clap's own code for mistakes, 2, means refused lines.
            if told.use_stderr() { Exit::Usage } else { Exit::Success }
        }
    };
    ExitCode::from(exit as u8)
}
