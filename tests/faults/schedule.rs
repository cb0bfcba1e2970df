//! Which faults come when: decided by the seed alone.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::application::LEASE;
use crate::arguments::Run;
use crate::random::Random;

/// How many processes are killed in a second, one after the other.
const KILLS_PER_SECOND: u64 = 2;

/// How often the server is restarted.
pub const RESTARTS: u32 = 3;

/// A process is stopped for 1¼ leases, and up to so many milliseconds longer.
const LONGER: u64 = 2_500;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// SIGKILL to the process with this number.
    Kill {
        process: usize,
    },
    /// SIGSTOP, and SIGCONT after this time.
    Stop {
        process: usize,
        pause: Duration,
    },
    /// `pg_terminate_backend`; of those connected, the one with this number modulo how many.
    Terminate {
        backend: u64,
    },
    Restart(Restart),
}

/// How the server goes down before it comes up again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Restart {
    /// It ends the sessions.
    Fast,
    /// It drops everything, and recovers at its start.
    Immediate,
    /// It is killed.
    Crash,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Since the start of the run.
    pub at: Duration,
    pub fault: Fault,
}

/// The steps, in order and without end.
#[derive(Debug)]
pub struct Schedule {
    random: Random,
    processes: u64,
    restarts: VecDeque<(u64, Restart)>,
    tick: u64,
    coming: VecDeque<Step>,
}

impl Schedule {
    pub fn new(run: &Run, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut kinds = vec![Restart::Fast, Restart::Immediate, Restart::Crash];
        let ticks = run.restart_every * KILLS_PER_SECOND;
        let restarts = (0..RESTARTS).map(|number| {
            let kind = kinds.swap_remove(index(random.below(kinds.len() as u64)));
            // In the second half of its part of the run.
            let within = ticks / 2 + random.below(ticks / 2);
            (u64::from(number) * ticks + within, kind)
        });
        let restarts = restarts.collect();
        let processes = u64::from(run.publishers + run.workers);
        Self { random, processes, restarts, tick: 0, coming: VecDeque::new() }
    }

    /// What happens around the next kill.
    fn draw(&mut self) {
        self.tick += 1;
        let tick_at = Duration::from_millis(self.tick * 1_000 / KILLS_PER_SECOND);
        let step = |after: Duration, fault| Step { at: tick_at + after, fault };
        let victim = self.random.below(self.processes);
        self.coming.push_back(step(Duration::ZERO, Fault::Kill { process: index(victim) }));
        if self.restarts.front().is_some_and(|(tick, _)| *tick <= self.tick) {
            let (_, kind) = self.restarts.pop_front().expect("it was there just now");
            self.coming.push_back(step(Duration::from_millis(50), Fault::Restart(kind)));
        }
        if self.random.once_in(6) {
            // Another one, past its lease.
            let other = 1 + self.random.below(self.processes - 1);
            let process = index((victim + other) % self.processes);
            let pause = LEASE * 5 / 4 + Duration::from_millis(self.random.below(LONGER));
            self.coming.push_back(step(Duration::from_millis(150), Fault::Stop { process, pause }));
        }
        if self.random.once_in(2) {
            let backend = self.random.next();
            self.coming.push_back(step(Duration::from_millis(300), Fault::Terminate { backend }));
        }
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("a small number")
}

impl Iterator for Schedule {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        if self.coming.is_empty() {
            self.draw();
        }
        self.coming.pop_front()
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>7} ms  ", self.at.as_millis())?;
        match self.fault {
            Fault::Kill { process } => write!(f, "kill process {process}"),
            Fault::Stop { process, pause } => {
                write!(f, "stop process {process} for {} ms", pause.as_millis())
            }
            Fault::Terminate { backend } => write!(f, "terminate backend {backend:016x}"),
            Fault::Restart(kind) => write!(f, "restart the server ({kind:?})"),
        }
    }
}

/// Prints the first minute.
pub fn show(run: &Run) {
    let first_minute =
        Schedule::new(run, run.seed).take_while(|step| step.at < Duration::from_mins(1));
    for step in first_minute {
        println!("{step}");
    }
}
