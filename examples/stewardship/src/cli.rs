//! The command line: what may be asked for, and with which exit code it ends.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use events_core::{Registry, Scope};

use crate::configuration::{Configuration, ConfigurationError, Flags, Purpose};
use crate::database::{self, Location};
use crate::generate::Plan;
use crate::replay::measurements::Measured;
use crate::replay::sweeps::InNumbers;
use crate::replay::{self, Options, ReplayError, worker_process};
use crate::{catalog, reconcile, serve, telemetry, worker};

/// How a command ended. The numbers are the process's exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All is well.
    Success = 0,
    /// The derived rows differ from a fresh computation, or items could not be reconciled.
    Differs = 1,
    /// Lines of the change log were refused; all else is well.
    Refused = 2,
    /// The command line makes no sense.
    Usage = 64,
    /// The change log cannot be read, or is not the one that was begun.
    Input = 66,
    /// Something kept the command from its end.
    Failed = 70,
    /// The configuration cannot be used.
    Configuration = 78,
    /// It was interrupted.
    Interrupted = 130,
}

/// A data-governance service: monitors inherit data stewards from the systems they watch.
#[derive(Debug, Parser)]
#[command(name = "stewardship", version, after_help = format!("{}\n\n{EXIT_CODES}", database::ABOUT))]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str =
    "Exit codes: 0 all is well, 1 the derived rows differ or items could not be \
reconciled, 2 lines were refused and all else is well,
64 wrong usage, 66 the change log cannot be used, 78 the configuration cannot be used,
70 anything else, 130 interrupted.
Log lines are chosen with RUST_LOG (default: warn; of a service and its workers: info).";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve over HTTP until told to end, with a worker inside unless configured otherwise
    Serve {
        #[command(flatten)]
        configured: Configured,
        /// Where to listen; port 0 is any that is free
        #[arg(long, value_name = "ADDRESS:PORT")]
        listen: Option<String>,
        /// Whether a worker runs inside the service
        #[arg(long, value_name = "true|false")]
        worker: Option<bool>,
    },
    /// Work apart from the service until told to end; several share the work
    Worker {
        #[command(flatten)]
        configured: Configured,
    },
    /// Apply a change log while workers propagate it, and check the result
    Replay(Replay),
    /// List events, publishers, subscribers and what coverage finds
    Catalog {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Recompute derived rows without events, for all monitors or those given
    Reconcile {
        /// The database
        #[arg(long, value_name = database::NOTATION, value_parser = location())]
        database: Location,
        /// Monitors; all if none is given
        #[arg(value_name = "MONITOR")]
        monitors: Vec<String>,
    },
    /// Make a change log; without options, the bundled one
    Generate(Generate),
    /// Work on a database until standard input ends
    #[command(hide = true)]
    ReplayWorker {
        #[arg(long, value_name = database::NOTATION, value_parser = location())]
        database: Location,
    },
}

/// What a service and its workers have in common.
#[derive(Debug, Args)]
struct Configured {
    /// The configuration, as TOML; the environment (`STEWARDSHIP_…`) wins over it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The database
    #[arg(long, value_name = database::NOTATION)]
    database: Option<OsString>,
}

impl Configured {
    fn flags(self) -> Flags {
        Flags { config: self.config, database: self.database, ..Flags::default() }
    }
}

#[derive(Debug, Args)]
struct Replay {
    /// The change log, as JSON lines; the bundled one if not given
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The database: kept, and resumed if it exists. Without, a temporary one (SQLite only)
    #[arg(long, value_name = database::NOTATION, value_parser = location())]
    #[arg(required = cfg!(feature = "postgres"))] // it has none that are temporary
    database: Option<Location>,
    /// Start so many worker processes instead of a worker inside this one
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: Option<u16>,
    /// Tell every refused line, not only the first 20
    #[arg(long)]
    verbose: bool,
    /// Run all reconcilers once when the queue is drained, before the verdict
    #[arg(long)]
    reconcile_at_end: bool,
    /// Drop every event (the kill switch); the sweep in the end must converge everything alone
    #[arg(long)]
    without_events: bool,
}

#[derive(Debug, Args)]
struct Generate {
    /// Where the randomness begins
    #[arg(long, value_name = "N", default_value_t = Plan::default().seed)]
    seed: u64,
    /// How many lines
    #[arg(long, value_name = "N", default_value_t = Plan::default().lines)]
    lines: usize,
    /// How many users
    #[arg(long, value_name = "N", default_value_t = Plan::default().users)]
    users: usize,
    /// How many systems
    #[arg(long, value_name = "N", default_value_t = Plan::default().systems)]
    systems: usize,
    /// How many connection configs
    #[arg(long, value_name = "N", default_value_t = Plan::default().connections)]
    connections: usize,
    /// How many monitors
    #[arg(long, value_name = "N", default_value_t = Plan::default().monitors)]
    monitors: usize,
    /// The file to write; standard output if not given
    #[arg(long, value_name = "PATH")]
    output: Option<PathBuf>,
}

/// Reads `--database`, and says so if it is none for this program.
fn location() -> impl TypedValueParser<Value = Location> {
    OsStringValueParser::new().try_map(Location::try_from)
}

impl Cli {
    /// Does what is asked for.
    #[must_use]
    pub fn run(self) -> Exit {
        let ended = match self.command {
            Command::Serve { configured, listen, worker } => {
                serve(Flags { listen, worker, ..configured.flags() })
            }
            Command::Worker { configured } => work(configured.flags()),
            Command::Replay(replay) => replay.run(),
            Command::Catalog { json } => print_catalog(json),
            Command::Reconcile { database, monitors } => run_reconcilers(&database, monitors),
            Command::Generate(generate) => generate.run(),
            Command::ReplayWorker { database } => work_for_replay(&database),
        };
        ended.unwrap_or_else(|failure| {
            complain(&*failure.error);
            failure.exit
        })
    }
}

/// Why a command did not reach its end, and the exit code for it.
struct CommandFailure {
    exit: Exit,
    error: events_core::BoxError,
}

impl<E: Into<events_core::BoxError>> From<E> for CommandFailure {
    fn from(error: E) -> Self {
        let error = error.into();
        if error.is::<ConfigurationError>() {
            return Self { exit: Exit::Configuration, error };
        }
        let exit = match error.downcast_ref::<ReplayError>() {
            Some(ReplayError::ReadLog { .. } | ReplayError::OtherLog { .. }) => Exit::Input,
            Some(ReplayError::Interrupted { .. }) => Exit::Interrupted,
            _ => Exit::Failed,
        };
        Self { exit, error }
    }
}

type Ended = Result<Exit, CommandFailure>;

impl Replay {
    fn run(self) -> Ended {
        let measured = Measured::default();
        // That every event is dropped is what was asked for: no line for each.
        let quiet = if self.without_events { "events_core::events=error" } else { "" };
        telemetry::start(Some(measured.clone()), quiet);
        let Self { file, database, workers, verbose, reconcile_at_end, without_events } = self;
        let options =
            Options { file, database, workers, verbose, reconcile_at_end, without_events };
        let report = runtime()?.block_on(replay::run(&options, &measured))?;
        print(&report.to_string())?;
        Ok(match (report.converged(), report.has_refusals()) {
            (false, _) => Exit::Differs,
            (true, true) => Exit::Refused,
            (true, false) => Exit::Success,
        })
    }
}

fn print_catalog(json: bool) -> Ended {
    telemetry::start(None, "");
    let catalog = catalog::of(Registry::linked()?);
    print(&if json { catalog::json(&catalog) } else { catalog::text(&catalog) })?;
    Ok(Exit::Success)
}

fn run_reconcilers(database: &Location, monitors: Vec<String>) -> Ended {
    telemetry::start(None, "");
    if database.is_missing() {
        let name = database.as_ref().display();
        return Err(format!("there is no database `{name}` to reconcile").into());
    }
    let scope = if monitors.is_empty() { Scope::All } else { Scope::Keys(monitors) };
    runtime()?.block_on(async {
        let (_, queue) = replay::open_database(database).await?;
        let mut exit = Exit::Success;
        for (name, report) in reconcile::everything(&queue, &scope).await? {
            print(&format!("{name}: {}\n", InNumbers(&report)))?;
            for (monitor, reason) in &report.failed {
                exit = Exit::Differs;
                print(&format!("  {monitor:?}: {reason}\n"))?;
            }
        }
        Ok(exit)
    })
}

impl Generate {
    fn run(self) -> Ended {
        let Self { seed, lines, users, systems, connections, monitors, output } = self;
        let text = Plan { seed, lines, users, systems, connections, monitors }
            .text()
            .map_err(|error| CommandFailure { exit: Exit::Usage, error: error.into() })?;
        match output {
            Some(path) => std::fs::write(&path, text)
                .map_err(|error| format!("`{}` cannot be written: {error}", path.display()))?,
            None => print(&text)?,
        }
        Ok(Exit::Success)
    }
}

fn work_for_replay(database: &Location) -> Ended {
    let measured = Measured::default();
    telemetry::start(Some(measured.clone()), "");
    runtime()?.block_on(worker_process::run(database, &measured))?;
    Ok(Exit::Success)
}

fn serve(flags: Flags) -> Ended {
    let configuration = Configuration::load(Purpose::Serve, flags, std::env::vars_os())?;
    telemetry::start_configured(&configuration.log);
    let listening = |address| {
        print(&format!("listening on http://{address}\n")).ok(); // the log says it, too
    };
    let runtime = service_runtime()?;
    let ended = runtime.block_on(serve::run(&configuration, listening));
    // A handler that blocks its thread would be waited for otherwise, also by who was told twice.
    runtime.shutdown_background();
    Ok(exit_of(ended?))
}

fn work(flags: Flags) -> Ended {
    let configuration = Configuration::load(Purpose::Work, flags, std::env::vars_os())?;
    telemetry::start_configured(&configuration.log);
    let runtime = service_runtime()?;
    let ended = runtime.block_on(worker::run(&configuration));
    runtime.shutdown_background(); // as above
    Ok(exit_of(ended?))
}

const fn exit_of(ended: worker::Ended) -> Exit {
    match ended {
        worker::Ended::Well => Exit::Success,
        worker::Ended::AtOnce => Exit::Interrupted,
    }
}

/// Of several threads: a sweep or a large answer keeps nobody else waiting.
fn service_runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Writes to standard output. That the reader has seen enough is no failure.
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// The error and its causes, on standard error.
fn complain(error: &(dyn std::error::Error + 'static)) {
    let mut text = format!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        // Some libraries say their cause themselves, and give it as the source as well.
        if !text.ends_with(&said) {
            text.push_str("\n  because: ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    writeln!(io::stderr(), "{text}").ok(); // nobody may be listening
}
