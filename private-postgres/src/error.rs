use std::path::PathBuf;
use std::{fmt, io};

/// Why a server could not be started, stopped or asked.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// PostgreSQL's server programs are not on this machine, or not where `POSTGRES_BIN` says.
    BinariesNotFound {
        /// The folders that were searched.
        searched: Vec<PathBuf>,
    },
    /// The system refused something that is needed before PostgreSQL runs.
    System {
        /// What was attempted.
        attempt: String,
        /// What the system answered.
        source: io::Error,
    },
    /// `root` starts the server, which PostgreSQL refuses, and there is nobody else to run it.
    NoAccount,
    /// One of PostgreSQL's programs failed.
    Program {
        /// Its name.
        name: &'static str,
        /// What it wrote to its standard error.
        output: String,
    },
    /// The server ended, or took too long, before it accepted connections.
    NotReady {
        /// The end of its log.
        log: String,
    },
    /// The server is running, or is not, and what was asked for needs the opposite.
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

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BinariesNotFound { searched } => {
                formatter.write_str(
                    "PostgreSQL's server programs (initdb, postgres, psql) were not found; \
                     install them: on Debian and Ubuntu 'sudo apt-get install postgresql', \
                     on Fedora 'sudo dnf install postgresql-server', \
                     on macOS 'brew install postgresql@17'; \
                     or name their folder in the environment variable POSTGRES_BIN; searched:",
                )?;
                searched.iter().try_for_each(|folder| write!(formatter, " {}", folder.display()))
            }
            Self::System { attempt, .. } => write!(formatter, "could not {attempt}"),
            Self::NoAccount => formatter.write_str(
                "PostgreSQL refuses to run as root, and /etc/passwd has neither 'postgres' nor \
                 'nobody' to run it; add one of them or start this as an ordinary user",
            ),
            Self::Program { name, output } => write!(formatter, "{name} failed: {output}"),
            Self::NotReady { log } => write!(
                formatter,
                "the server did not come up; correct what its log names, and the settings that \
                 were given if it names them:\n{log}"
            ),
            Self::WrongState { remedy } => formatter.write_str(remedy),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System { source, .. } => Some(source),
            _ => None,
        }
    }
}
