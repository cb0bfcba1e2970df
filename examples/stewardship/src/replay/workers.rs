//! The workers beside the replay: one in this process, or processes of their own.

use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use events_core::Events;
use events_runtime::{Worker, WorkerError};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::ReplayError;
use super::display::Display;
use super::measurements::Measured;
use crate::database::{CONCURRENCY, Location, Queue};

/// A worker process that lives less than this has not got to work.
const YOUNG: Duration = Duration::from_secs(2);

/// So many deaths in a row, each right after the start, are no accident.
const MOST_YOUNG_DEATHS: u32 = 5;

/// How long a worker process may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(40);

/// The workers of one replay.
pub(super) struct Workers {
    /// Each ends when told to stop, or with what keeps it from going on.
    running: JoinSet<Result<(), ReplayError>>,
    /// Told `true` to stop.
    stop: watch::Sender<bool>,
}

impl Workers {
    /// Starts `processes` worker processes, or a worker in this process.
    pub(super) fn start(
        processes: Option<u16>,
        events: &Events,
        queue: &Queue,
        database: &Location,
        measured: &Measured,
        display: &Arc<Display>,
    ) -> Result<Self, ReplayError> {
        let (stop, stopped) = watch::channel(false);
        let mut running = JoinSet::new();
        match processes {
            None => {
                let worker = inside(events, queue)?;
                running.spawn(async move { Ok(worker.run_until(told(stopped)).await?) });
            }
            Some(count) => {
                for number in 1..=count {
                    let post = Post {
                        number,
                        database: database.clone(),
                        measured: measured.clone(),
                        display: display.clone(),
                    };
                    let first = post.spawn()?;
                    running.spawn(post.keep_manned(first, stopped.clone()));
                }
            }
        }
        Ok(Self { running, stop })
    }

    /// Resolves if a worker cannot go on, with the reason.
    pub(super) async fn failed(&mut self) -> ReplayError {
        match self.running.join_next().await {
            Some(Ok(Err(error))) => error,
            _ => ReplayError::WorkerGone, // it returned, or panicked
        }
    }

    /// Lets the workers finish what they run, and waits for it.
    pub(super) async fn stop(mut self) {
        self.stop.send_replace(true);
        while let Some(ended) = self.running.join_next().await {
            if let Ok(Err(error)) = ended {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a worker did not stop well"
                );
            }
        }
    }
}

/// The worker that serves every queue of this application. It runs no reconcilers: what a replay
/// shows is what events have done, and its sweeps are those that it is asked for.
///
/// # Errors
/// A handler takes something that it is not given.
pub(super) fn inside(events: &Events, queue: &Queue) -> Result<Worker<Queue>, WorkerError> {
    Worker::builder(events, queue.clone()).concurrency(CONCURRENCY).reconcilers(false).build()
}

async fn told(mut stop: watch::Receiver<bool>) {
    // The sender is gone only when the replay is, and then the worker is to stop as well.
    stop.wait_for(|stop| *stop).await.ok();
}

/// A place for a worker process: when one dies, another takes over.
struct Post {
    number: u16,
    database: Location,
    measured: Measured,
    display: Arc<Display>,
}

impl Post {
    fn spawn(&self) -> Result<Child, ReplayError> {
        let program = std::env::current_exe().map_err(ReplayError::Spawn)?;
        let child = Command::new(program)
            .arg("replay-worker")
            .arg("--database")
            .arg(&self.database)
            .stdin(Stdio::piped()) // closed to stop it, also by this process's death
            .stdout(Stdio::piped()) // what it measures
            .kill_on_drop(true)
            .spawn()
            .map_err(ReplayError::Spawn)?;
        let id = child.id().unwrap_or_default();
        self.display.say(&format!("worker {} started (process {id})", self.number));
        Ok(child)
    }

    async fn keep_manned(
        self,
        first: Child,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), ReplayError> {
        let mut child = first;
        let mut young_deaths = 0;
        loop {
            let started = Instant::now();
            let Some(status) = self.watch(&mut child, &mut stop).await? else { return Ok(()) };
            young_deaths = if started.elapsed() < YOUNG { young_deaths + 1 } else { 0 };
            if young_deaths >= MOST_YOUNG_DEATHS {
                return Err(ReplayError::WorkerKeepsDying {
                    number: self.number,
                    times: young_deaths,
                    status: status.to_string(),
                });
            }
            self.display.say(&format!(
                "worker {} died ({status}); its tasks go to others, and a new process takes its place",
                self.number
            ));
            child = self.spawn()?;
        }
    }

    /// Collects what the process measures until it dies (its status) or has stopped as told
    /// (`None`).
    async fn watch(
        &self,
        child: &mut Child,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Option<ExitStatus>, ReplayError> {
        let mut lines = child.stdout.take().map(|output| BufReader::new(output).lines());
        let mut telling = true;
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop), if telling => {
                    telling = false;
                    drop(child.stdin.take());
                }
                line = next_line(&mut lines) => match line {
                    Some(line) => self.take_in(&line),
                    None => break, // it has closed its output: it ends
                },
            }
        }
        let ended = tokio::time::timeout(STOP_WITHIN, child.wait()).await;
        let status = match ended {
            Ok(status) => status.map_err(ReplayError::Spawn)?,
            Err(_) => {
                self.display.say(&format!("worker {} does not stop; it is killed", self.number));
                child.kill().await.map_err(ReplayError::Spawn)?;
                return Ok(None);
            }
        };
        let told_to_stop = !telling || *stop.borrow();
        Ok((!told_to_stop).then_some(status))
    }

    fn take_in(&self, line: &str) {
        if let Err(error) = self.measured.add_line(line) {
            tracing::warn!(
                worker = self.number,
                error = &error as &dyn std::error::Error,
                "a worker process wrote something that is no measurement"
            );
        }
    }
}

async fn next_line(
    lines: &mut Option<tokio::io::Lines<BufReader<tokio::process::ChildStdout>>>,
) -> Option<String> {
    lines.as_mut()?.next_line().await.ok().flatten()
}
