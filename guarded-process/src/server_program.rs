use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitCode};

/// The program around a private server: alone it prints the server's URL and keeps the server until
/// standard input closes, and with a command it runs that, and the server for as long.
#[derive(Debug, Clone, Copy)]
pub struct ServerProgram {
    /// What the program is called.
    pub name: &'static str,
    /// The environment variable in which the command finds the URL.
    pub variable: &'static str,
}

impl ServerProgram {
    /// Starts the server with `start`, which returns it and its URL, and does what the arguments of
    /// this process say. The server is dropped at the end.
    ///
    /// The exit code is the command's; 128 and the signal's number if one ended it, as in a shell; 1
    /// if something failed, which standard error tells; 2 if the arguments begin with an option, for
    /// there are none.
    pub fn run<S, E: Error + 'static>(
        self,
        start: impl FnOnce() -> Result<(S, String), E>,
    ) -> ExitCode {
        let arguments: Vec<_> = std::env::args_os().skip(1).collect();
        self.follow(&arguments, start).unwrap_or_else(|error| {
            let mut text = format!("{}: {error}", self.name);
            let mut cause = error.source();
            while let Some(error) = cause {
                text = format!("{text}: {error}");
                cause = error.source();
            }
            let _ = writeln!(io::stderr(), "{text}");
            ExitCode::FAILURE
        })
    }

    fn follow<S, E: Error + 'static>(
        self,
        arguments: &[OsString],
        start: impl FnOnce() -> Result<(S, String), E>,
    ) -> Result<ExitCode, Box<dyn Error>> {
        if arguments.first().is_some_and(|first| first.to_string_lossy().starts_with('-')) {
            writeln!(io::stdout(), "{}", self.usage())?;
            return Ok(ExitCode::from(2));
        }
        let (_server, url) = start()?;
        let Some((program, arguments)) = arguments.split_first() else {
            writeln!(io::stdout(), "{url}")?;
            io::copy(&mut io::stdin(), &mut io::sink())?;
            return Ok(ExitCode::SUCCESS);
        };
        let status = Command::new(program)
            .args(arguments)
            .env(self.variable, url)
            .status()
            .map_err(|error| format!("could not run {}: {error}", program.display()))?;
        // As a shell reports a signal.
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
        Ok(code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
    }

    fn usage(self) -> String {
        let Self { name, variable } = self;
        format!(
            "\
{name}            starts a private server and prints the URL of a database on it, until
{blank}            standard input is closed
{name} COMMAND…   runs the command with that URL in {variable}, then stops the server",
            blank = " ".repeat(name.len()),
        )
    }
}
