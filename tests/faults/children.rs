//! The processes of a run: started, killed, stopped, continued, and started again when they end.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::{Command as SystemCommand, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::points;
use crate::{Error, arguments::Run};

/// Before a process that ended by itself is started again.
const PAUSE: Duration = Duration::from_millis(100);

/// What is counted over all processes, by its name.
#[derive(Debug, Clone, Default)]
pub struct Tally(Arc<Mutex<BTreeMap<String, u64>>>);

impl Tally {
    pub fn add(&self, what: impl Into<String>, count: u64) {
        *self.counts().entry(what.into()).or_default() += count;
    }

    pub fn counts(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place for a process, which has one process after the other.
struct Place {
    name: String,
    arguments: Vec<String>,
    publishes: bool,
    starts: u64,
    state: State,
}

enum State {
    Waiting { until: Instant },
    Alive(Box<Process>),
    Done,
}

struct Process {
    id: u32,
    child: Child,
    /// Kept open: a worker stops when it closes.
    input: Option<ChildStdin>,
    continues_at: Option<Instant>,
    killed_at: Option<Instant>,
}

/// A worker that is no more.
#[derive(Debug, Clone, Copy)]
pub struct Death {
    pub process: u32,
    pub at: Instant,
}

pub struct Children {
    places: Vec<Place>,
    logs: PathBuf,
    seed: u64,
    points: String,
    pub tally: Tally,
}

impl Children {
    pub fn start(run: &Run, url: &str, logs: PathBuf, seed: u64) -> Result<Self, Error> {
        let rate = (run.rate / run.publishers).max(1);
        let publishers = (0..run.publishers).map(|number| {
            let orders = run.events_of(number);
            let arguments =
                [url.to_owned(), number.to_string(), orders.to_string(), rate.to_string()];
            Place::new(format!("publisher-{number}"), "publish", arguments)
        });
        let workers = (0..run.workers)
            .map(|number| Place::new(format!("worker-{number}"), "work", [url.to_owned()]));
        let places = publishers.chain(workers).collect();
        let mut children =
            Self { places, logs, seed, points: points::usual(run.events), tally: Tally::default() };
        for place in 0..children.places.len() {
            children.start_again(place)?;
        }
        Ok(children)
    }

    /// Starts again what ended, continues what was stopped for long enough. Returns the workers
    /// that have died since.
    pub fn tend(&mut self) -> Result<Vec<Death>, Error> {
        let mut deaths = Vec::new();
        for place in 0..self.places.len() {
            let now = Instant::now();
            match &mut self.places[place].state {
                State::Waiting { until } if *until <= now => self.start_again(place)?,
                State::Alive(process) => {
                    if process.continues_at.is_some_and(|at| at <= now) {
                        process.resume()?;
                    }
                    if let Some(status) = process.child.try_wait()? {
                        let death =
                            Death { process: process.id, at: process.killed_at.unwrap_or(now) };
                        let killed = process.killed_at.is_some();
                        deaths.extend(self.ended(place, status, killed).then_some(death));
                    }
                }
                State::Waiting { .. } | State::Done => {}
            }
        }
        Ok(deaths)
    }

    /// Whether it was a worker, and before its time.
    fn ended(&mut self, place: usize, status: ExitStatus, killed: bool) -> bool {
        let place = &mut self.places[place];
        if status.success() {
            place.state = State::Done;
            return false;
        }
        let pause = if killed { Duration::ZERO } else { PAUSE };
        place.state = State::Waiting { until: Instant::now() + pause };
        if status.code().is_some() {
            let role = if place.publishes { "publisher" } else { "worker" };
            self.tally.add(format!("{role} that ended with an error"), 1);
        }
        !place.publishes
    }

    fn start_again(&mut self, place: usize) -> Result<(), Error> {
        let number = place as u64;
        let place = &mut self.places[place];
        place.starts += 1;
        let seed = self.seed << 32 | number << 24 | place.starts;
        let log = self.logs.join(format!("{}.log", place.name));
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(&place.arguments)
            .env(points::POINTS, &self.points)
            .env(points::SEED, seed.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let output = child.stdout.take().expect("it is a pipe");
        tokio::spawn(listen(output, self.tally.clone()));
        place.state = State::Alive(Box::new(Process {
            id: child.id().expect("it was not waited for"),
            input: child.stdin.take(),
            child,
            continues_at: None,
            killed_at: None,
        }));
        Ok(())
    }

    fn alive(&mut self, place: usize) -> Option<&mut Process> {
        match &mut self.places[place].state {
            State::Alive(process) if process.killed_at.is_none() => Some(process),
            _ => None,
        }
    }

    pub fn kill(&mut self, place: usize) -> Result<(), Error> {
        let role = if self.places[place].publishes { "publisher" } else { "worker" };
        let Some(process) = self.alive(place) else { return Ok(()) };
        process.killed_at = Some(Instant::now());
        process.child.start_kill()?;
        self.tally.add(format!("{role} killed"), 1);
        Ok(())
    }

    /// Stops it for so long.
    pub fn stop(&mut self, place: usize, pause: Duration) -> Result<(), Error> {
        let role = if self.places[place].publishes { "publisher" } else { "worker" };
        let Some(process) = self.alive(place) else { return Ok(()) };
        if process.continues_at.is_none() {
            signal("STOP", process.id)?;
            process.continues_at = Some(Instant::now() + pause);
            self.tally.add(format!("{role} stopped"), 1);
        }
        Ok(())
    }

    /// Nobody stays stopped.
    pub fn resume_all(&mut self) -> Result<(), Error> {
        (0..self.places.len())
            .try_for_each(|place| self.alive(place).map_or(Ok(()), Process::resume))
    }

    pub fn have_published(&self) -> bool {
        let mut publishers = self.places.iter().filter(|place| place.publishes);
        publishers.all(|place| matches!(place.state, State::Done))
    }

    /// Asks the workers to end. Afterwards, they are to be tended until all are done.
    pub fn close(&mut self) {
        for place in 0..self.places.len() {
            if let Some(process) = self.alive(place) {
                process.input = None;
            }
        }
    }

    pub fn are_done(&self) -> bool {
        self.places.iter().all(|place| matches!(place.state, State::Done))
    }
}

impl Place {
    fn new(name: String, role: &str, arguments: impl IntoIterator<Item = String>) -> Self {
        let arguments = [role.to_owned()].into_iter().chain(arguments).collect();
        let state = State::Waiting { until: Instant::now() };
        Self { name, arguments, publishes: role == "publish", starts: 0, state }
    }
}

impl Process {
    fn resume(&mut self) -> Result<(), Error> {
        match self.continues_at.take() {
            Some(_) => signal("CONT", self.id),
            None => Ok(()),
        }
    }
}

fn signal(signal: &str, process: u32) -> Result<(), Error> {
    let arguments = [format!("-{signal}"), process.to_string()];
    SystemCommand::new("kill").args(arguments).stderr(Stdio::null()).status()?;
    Ok(())
}

/// Counts the fault points that a process has hit, and what it says of itself.
async fn listen(output: ChildStdout, tally: Tally) {
    let mut lines = BufReader::new(output).lines();
    let mut last = String::new();
    while let Ok(Some(line)) = lines.next_line().await {
        if line.starts_with("point ") {
            tally.add(line, 1);
        } else {
            last = line;
        }
    }
    let statistics = last.split(' ').filter_map(|pair| pair.split_once('='));
    for (what, count) in statistics {
        tally.add(what, count.parse().unwrap_or(0));
    }
}
