//! Replays a change log through the repositories while workers propagate what changes, and checks
//! the derived rows in the end.

mod apply;
mod display;
pub mod fresh;
pub mod measurements;
mod progress;
mod refusals;
pub mod report;
pub mod sweeps;
pub mod worker_process;
mod workers;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use events_core::reconciler::ReconcileError;
use events_core::{Admin, BrokerError, Events, StartError};
use events_runtime::{WorkerError, shutdown_signal};
use events_sqlx::QueueError;

use crate::change_log::lines::Lines;
use crate::database::{self, Location, Queue};
use crate::generate;
use crate::repositories::StoreError;
use crate::{schema, settings};
use apply::Applier;
use display::Display;
use measurements::Measured;
use progress::Progress;
use report::Report;
use workers::Workers;

/// What to replay, and how.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The change log; the bundled one unless given.
    pub file: Option<PathBuf>,
    /// The database; a temporary one unless given. An existing one resumes.
    pub database: Option<Location>,
    /// How many worker processes to start; none runs the worker inside this process.
    pub workers: Option<u16>,
    /// Whether every refused line is printed, and not only the first.
    pub verbose: bool,
    /// Whether all reconcilers run once after the drain, before the verdict.
    pub reconcile_at_end: bool,
    /// Whether the kill switch is off for the whole run: every event is dropped. The sweep in the end
    /// is then all there is, and implied.
    pub without_events: bool,
}

/// A replay that could not be finished. What was applied stays; running it again resumes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the texts say it
pub enum ReplayError {
    #[error("the change log `{}` cannot be read", path.display())]
    ReadLog { path: PathBuf, source: io::Error },
    #[error(
        "the database has {lines} lines ({bytes} bytes) of a change log, and `{}` does not begin with them; give the log that was begun, or another --database", path.display()
    )]
    OtherLog { path: PathBuf, lines: u64, bytes: u64 },
    #[error(
        "somebody else has applied lines to this database meanwhile; let one replay at a time work on it"
    )]
    AnotherReplay,
    #[error("no temporary database could be made; give --database")]
    Temporary(#[source] io::Error),
    #[error("the events cannot start")]
    Start(#[from] StartError),
    #[error(transparent)]
    Open(#[from] QueueError),
    #[error("the application's tables cannot be created; is this another program's database?")]
    Schema(#[source] sqlx::Error),
    #[error("line {line} could not be applied")]
    Apply { line: u64, source: StoreError },
    #[error("line {line} could not be committed")]
    Commit { line: u64, source: QueueError },
    #[error("the progress of the replay could not be kept")]
    Progress(#[source] sqlx::Error),
    #[error("the derived rows could not be checked")]
    Check(#[source] sqlx::Error),
    #[error("a sweep could not be run")]
    Sweep(#[from] ReconcileError),
    #[error(transparent)]
    Queue(#[from] BrokerError),
    #[error("the worker cannot run")]
    Worker(#[from] WorkerError),
    #[error("the worker ended before its time")]
    WorkerGone,
    #[error("a worker process cannot be started")]
    Spawn(#[source] io::Error),
    #[error(
        "worker {number} has died {times} times in a row right after its start; the last was {status}"
    )]
    WorkerKeepsDying { number: u16, times: u32, status: String },
    #[error("interrupted; {}", resume_hint(*.kept))]
    Interrupted { kept: bool },
}

fn resume_hint(kept: bool) -> &'static str {
    match kept {
        true => "run the same command again to resume",
        false => "the temporary database is gone; give --database to be able to resume",
    }
}

/// How often the drain looks whether it is done.
const LOOK: Duration = Duration::from_millis(10);

/// Replays, waits until the queue is drained, and checks. `measured` is what the log lines of
/// this process's worker go to.
///
/// # Errors
/// Anything that keeps the replay from its end. Refused lines and differences do not: the report
/// tells them.
pub async fn run(options: &Options, measured: &Measured) -> Result<Report, ReplayError> {
    let (mut lines, size) = open_log(options)?;
    let (database, temporary) = match &options.database {
        Some(given) => (given.clone(), None),
        None => {
            let (made, directory) = database::temporary().map_err(ReplayError::Temporary)?;
            (made, Some(directory))
        }
    };
    let (events, queue) = open_database(&database).await?;
    events.set_enabled(!options.without_events);
    let progress = Progress::load(queue.pool()).await.map_err(ReplayError::Progress)?;
    resume(&mut lines, &progress, options)?;

    let display = Arc::new(Display::new(size, &progress));
    let mut workers =
        Workers::start(options.workers, &events, &queue, &database, measured, &display)?;
    let started = Instant::now();
    let mut applier = Applier::new(&queue, progress, &display, options.verbose);
    let outcome = {
        let work = async {
            applier.apply_all(&mut lines, options).await?;
            let applied_in = started.elapsed();
            drain(&queue, &display).await?;
            let drained_in = started.elapsed();
            // Before a sweep looks at them.
            let statistics_delays_ms =
                fresh::statistics_delays_ms(queue.pool()).await.map_err(ReplayError::Check)?;
            let swept_at_end = match options.reconcile_at_end || options.without_events {
                true => Some(sweeps::sweep(&queue).await?),
                false => None,
            };
            Ok((applied_in, drained_in, statistics_delays_ms, swept_at_end))
        };
        tokio::select! {
            outcome = work => outcome,
            error = workers.failed() => Err(error),
            () = shutdown_signal() => Err(ReplayError::Interrupted { kept: temporary.is_none() }),
        }
    };
    workers.stop().await;
    display.finish();
    applier.summarise_refusals();
    let (applied_in, drained_in, statistics_delays_ms, swept_at_end) = outcome?;

    let dead = queue.counts().await?.dead;
    let letters = queue.dead_letters(report::SHOWN, None).await?;
    let differences = fresh::differences(queue.pool()).await.map_err(ReplayError::Check)?;
    let report = Report {
        progress: applier.progress().clone(),
        resumed: applier.resumed(),
        dispatched: events.is_enabled(),
        dead,
        dead_debounced: dead_debounced(&queue).await?,
        letters,
        statistics_delays_ms,
        swept: applier.swept().clone(),
        swept_at_end,
        measurements: measured.snapshot(),
        applied_in,
        drained_in,
        differences,
    };
    queue.pool().close().await; // before its directory is removed
    Ok(report)
}

/// How many dead letters are of debounced tasks.
async fn dead_debounced(queue: &Queue) -> Result<u64, BrokerError> {
    const AT_ONCE: usize = 500;
    let (mut count, mut last) = (0, None);
    loop {
        let letters = queue.dead_letters(AT_ONCE, last.as_ref()).await?;
        count += letters.iter().filter(|letter| measurements::is_debounced(&letter.name)).count();
        match letters.into_iter().last() {
            None => return Ok(count as u64),
            letter => last = letter,
        }
    }
}

/// Opens the database, with the application's and the queue's tables in it.
///
/// # Errors
/// The program is wired wrongly, or the database cannot be used.
pub async fn open_database(location: &Location) -> Result<(Events, Queue), ReplayError> {
    let events = Events::builder().settings(settings::settings()).build()?;
    let queue = open_with(location, &events).await?;
    Ok((events, queue))
}

/// As [`open_database`], with events that are there already.
///
/// # Errors
/// The database cannot be used.
pub async fn open_with(location: &Location, events: &Events) -> Result<Queue, ReplayError> {
    let queue = database::open(location, events, database::CONNECTIONS).await?;
    schema::create(queue.pool()).await.map_err(ReplayError::Schema)?;
    Ok(queue)
}

/// Opens the database for a worker: the application has made its tables already.
async fn open_queue(location: &Location) -> Result<(Events, Queue), ReplayError> {
    let events = Events::builder().settings(settings::settings()).build()?;
    let queue = database::open(location, &events, database::CONNECTIONS).await?;
    Ok((events, queue))
}

fn open_log(options: &Options) -> Result<(Lines, u64), ReplayError> {
    match &options.file {
        None => Ok(Lines::bundled(generate::BUNDLED)),
        Some(path) => Lines::open(path).map_err(|error| read_log(options, error)),
    }
}

/// Reads past what is applied, and makes sure that it is what was applied.
fn resume(lines: &mut Lines, progress: &Progress, options: &Options) -> Result<(), ReplayError> {
    lines.skip_to(progress.position.bytes).map_err(|error| read_log(options, error))?;
    if lines.position() == progress.position {
        return Ok(());
    }
    Err(ReplayError::OtherLog {
        path: log_name(options),
        lines: progress.lines,
        bytes: progress.position.bytes,
    })
}

fn log_name(options: &Options) -> PathBuf {
    options.file.clone().unwrap_or_else(|| "the bundled organisation.jsonl".into())
}

fn read_log(options: &Options, source: io::Error) -> ReplayError {
    ReplayError::ReadLog { path: log_name(options), source }
}

async fn drain(queue: &Queue, display: &Display) -> Result<(), ReplayError> {
    loop {
        let counts = queue.counts().await?;
        if counts.is_drained() {
            return Ok(());
        }
        display.draining(counts.available + counts.scheduled + counts.running);
        tokio::time::sleep(LOOK).await;
    }
}
