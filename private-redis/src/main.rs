//! Runs a command with a Redis database of its own, or keeps one until standard input closes.
//!
//! ```text
//! cargo run -p private-redis                prints the database's URL; Ctrl-C or Ctrl-D ends it
//! cargo run -p private-redis -- COMMAND…    COMMAND finds the URL in REDIS_URL
//! ```

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitCode};

use private_redis::{Server, Settings};

const USAGE: &str = "\
private-redis            starts a private server and prints the URL of a database on it, until
                         standard input is closed
private-redis COMMAND…   runs the command with that URL in REDIS_URL, then stops the server";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    run(&arguments).unwrap_or_else(|error| {
        let mut text = format!("private-redis: {error}");
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        let _ = writeln!(io::stderr(), "{text}");
        ExitCode::FAILURE
    })
}

fn run(arguments: &[OsString]) -> Result<ExitCode, Box<dyn Error>> {
    if arguments.first().is_some_and(|first| first.to_string_lossy().starts_with('-')) {
        writeln!(io::stdout(), "{USAGE}")?;
        return Ok(ExitCode::from(2));
    }
    let server = Server::start(Settings::default())?;
    let database = server.database();
    let Some((program, arguments)) = arguments.split_first() else {
        writeln!(io::stdout(), "{}", database.url())?;
        io::copy(&mut io::stdin(), &mut io::sink())?;
        return Ok(ExitCode::SUCCESS);
    };
    let status = Command::new(program)
        .args(arguments)
        .env("REDIS_URL", database.url())
        .status()
        .map_err(|error| format!("could not run {}: {error}", program.display()))?;
    // As a shell reports a signal.
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    Ok(code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}
