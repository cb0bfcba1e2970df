//! How the service and its workers are configured: by a file, by the environment, by flags.
//!
//! A flag wins over a variable, a variable over the file. All of it is read and checked at the
//! start, once: every mistake is told, each with its key, where it stands and what to write instead,
//! and nothing is looked up later.

mod events;
mod mistakes;
mod sources;
mod tokens;

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use events_core::EventSettings;
use tracing_subscriber::EnvFilter;

use crate::database::{self, Location};
use crate::serve::authorization::Tokens;
use crate::settings;
use crate::statistics::StaleAfter;

pub use mistakes::{ConfigurationError, Mistake};
use sources::Sources;

/// The keys, each with what is written there. Those of the table `events` are [`EventSettings`].
pub const KEYS: [(&str, &str); 21] = [
    ("database", database::EXAMPLE),
    ("listen", "an address and a port, such as \"127.0.0.1:8080\""),
    ("worker", "true or false"),
    ("shutdown_grace", "a duration, such as \"20s\""),
    ("token", "a token of at least 16 characters, such as `openssl rand -hex 32` makes"),
    ("tokens", tokens::EXAMPLE),
    ("inheritance_sweep_minutes", "1 to 1440"),
    ("statistics_sweep_minutes", "1 to 1440"),
    ("statistics_stale_after", "a duration, such as \"1h\""),
    ("log.filter", "what RUST_LOG takes, such as \"info,events_core=debug\""),
    ("log.format", "\"text\" or \"json\""),
    ("events.enabled", "true or false"),
    ("events.default_queue", "the name of a queue, such as \"stewardship\""),
    ("events.max_retries", "a number, such as 8"),
    ("events.retry_backoff", "a duration, such as \"100ms\""),
    ("events.max_retry_backoff", "a duration, such as \"10s\""),
    ("events.timeout", "a duration, such as \"30s\""),
    ("events.payload_limit_bytes", "a number, such as 65536"),
    ("events.lease", "a duration, such as \"5s\""),
    ("events.unknown_task_delay", "a duration, such as \"30s\""),
    ("events.retain_completed", "a duration, such as \"7days\""),
];

/// What is to be configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The HTTP service: it needs tokens, and makes its database if none is named.
    Serve,
    /// A worker apart: it needs the database of a service.
    Work,
}

/// What the command line says.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)] // the keys
pub struct Flags {
    pub config: Option<PathBuf>,
    pub database: Option<OsString>,
    pub listen: Option<String>,
    pub worker: Option<bool>,
}

/// A configuration that was checked.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// Where the database is.
    pub database: Location,
    /// Where to listen; port 0 is any that is free.
    pub listen: SocketAddr,
    /// Whether the worker runs inside the service.
    pub worker: bool,
    /// How long requests, and the worker's handlers, may go on when the process is to stop.
    pub shutdown_grace: Duration,
    /// Who may do what.
    pub tokens: Tokens,
    /// The framework's settings.
    pub events: EventSettings,
    /// How old statistics may become before a sweep computes them again.
    pub statistics_stale_after: StaleAfter,
    /// Log lines.
    pub log: Log,
}

/// Which log lines are written, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// As `RUST_LOG` is written.
    pub filter: String,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines: an object per line.
    Json,
}

/// The line that joins a request to its events is one of debugging; all else is quieter.
const LOG_FILTER: &str = "info,events_core::events=debug";

/// Orchestrators give half a minute before they kill.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(20);

/// A sweep is a safety net: what events have done it finds done.
const SWEEP_MINUTES: u64 = 15;

/// Statistics are right as long as no event was lost; so often that is not taken for granted.
const STALE_AFTER: Duration = Duration::from_hours(1);

impl Configuration {
    /// Reads and checks everything that is configured.
    ///
    /// # Errors
    /// Every mistake that was made.
    pub fn load(
        purpose: Purpose,
        flags: Flags,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigurationError> {
        let mut sources = Sources::read(flags, environment)?;
        let database = database(purpose, &mut sources);
        let listen = listen(&mut sources);
        let worker = sources.take("worker").unwrap_or(true);
        let shutdown_grace = sources.duration("shutdown_grace", SHUTDOWN_GRACE);
        let tokens = tokens::tokens(purpose, &mut sources);
        let inheritance = sweep_minutes(&mut sources, "inheritance_sweep_minutes");
        let statistics = sweep_minutes(&mut sources, "statistics_sweep_minutes");
        let stale_after = sources.duration("statistics_stale_after", STALE_AFTER);
        let log = log(&mut sources);
        let mut events = settings::settings();
        let origins = events::overlay(&mut sources, &mut events);
        settings::sweep_every(&mut events, "steward_inheritance", inheritance);
        settings::sweep_every(&mut events, "aggregate_statistics", statistics);
        events::check(&mut sources, &events, &origins);
        sources.refuse_the_rest();
        match (sources.mistakes(), database) {
            (None, Some(database)) => Ok(Self {
                database,
                listen,
                worker,
                shutdown_grace,
                tokens,
                events,
                statistics_stale_after: StaleAfter(stale_after),
                log,
            }),
            (mistakes, _) => Err(mistakes.unwrap_or_default()),
        }
    }
}

fn database(purpose: Purpose, sources: &mut Sources) -> Option<Location> {
    let Some((origin, given)) = sources.take_with_origin::<String>("database") else {
        // A worker that is told nothing would make a database in which there is nothing to do.
        return match database::DEFAULT.filter(|_| purpose == Purpose::Serve) {
            Some(default) => Location::try_from(OsString::from(default)).ok(),
            None => {
                sources.missing("database");
                None
            }
        };
    };
    match Location::try_from(OsString::from(given)) {
        Ok(location) => Some(location),
        Err(error) => {
            sources.refuse("database", &origin, error.to_string());
            None
        }
    }
}

fn listen(sources: &mut Sources) -> SocketAddr {
    let default = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
    let Some((origin, given)) = sources.take_with_origin::<String>("listen") else {
        return default;
    };
    given.parse().unwrap_or_else(|_| {
        sources.refuse("listen", &origin, format!("{given:?} is no address with a port"));
        default
    })
}

fn sweep_minutes(sources: &mut Sources, key: &'static str) -> Duration {
    let minutes = match sources.take_with_origin::<i64>(key) {
        None => SWEEP_MINUTES,
        Some((_, minutes @ 1..=1440)) => minutes.unsigned_abs(),
        Some((origin, minutes)) => {
            sources.refuse(key, &origin, format!("{minutes} is not from 1 to 1440"));
            SWEEP_MINUTES
        }
    };
    Duration::from_mins(minutes)
}

fn log(sources: &mut Sources) -> Log {
    let filter = match sources.take_with_origin::<String>("log.filter") {
        Some((origin, filter)) => {
            if let Err(error) = EnvFilter::builder().parse(&filter) {
                sources.refuse("log.filter", &origin, error.to_string());
            }
            filter
        }
        None => sources.variable("RUST_LOG").unwrap_or_else(|| LOG_FILTER.to_owned()),
    };
    Log { filter, format: sources.take("log.format").unwrap_or_default() }
}

#[cfg(test)]
mod tests;
