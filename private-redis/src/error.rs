use std::io;
use std::path::PathBuf;

/// Why a server could not be started, stopped or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Redis's programs are not on this machine, or not where `REDIS_BIN` says.
    #[error(
        "Redis's programs (redis-server, redis-cli) were not found; install them: \
         on Debian and Ubuntu 'sudo apt-get install redis-server redis-tools', \
         on Fedora 'sudo dnf install redis', on macOS 'brew install redis'; \
         or name their folder in the environment variable REDIS_BIN; searched: {}",
        searched.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(" ")
    )]
    BinariesNotFound {
        /// The folders that were searched.
        searched: Vec<PathBuf>,
    },
    /// The system refused something that is needed before Redis runs.
    #[error("could not {attempt}")]
    System {
        /// What was attempted.
        attempt: String,
        /// What the system answered.
        source: io::Error,
    },
    /// `redis-cli` or `openssl` failed.
    #[error("{name} failed: {output}")]
    Program {
        /// Its name.
        name: &'static str,
        /// What it wrote.
        output: String,
    },
    /// The server ended, or took too long, before it accepted connections.
    #[error(
        "the server did not come up; correct what its log names, and the settings that were given \
         if it names them:\n{log}"
    )]
    NotReady {
        /// The end of its log.
        log: String,
    },
    /// The server is running, or is not, and what was asked for needs the opposite.
    #[error("{remedy}")]
    WrongState {
        /// What to call first.
        remedy: &'static str,
    },
}

impl Error {
    /// For `map_err`: names what was attempted.
    pub(crate) fn system(attempt: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let attempt = attempt.into();
        move |source| Self::System { attempt, source }
    }
}

/// For the calls that panic instead of returning an error.
pub(crate) fn fail(error: &Error) -> ! {
    match std::error::Error::source(error) {
        Some(cause) => panic!("{error}: {cause}"),
        None => panic!("{error}"),
    }
}
