//! One run: server, processes, faults, and the look at what is left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use events_core::broker::{Admin, Broker, WorkerInfo};
use events_core::prelude::*;
use events_core::{Registry, WorkerId};
use events_sqlx::PostgresQueue;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tempfile::TempDir;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};

use crate::Error;
use crate::application::{self, LEASE};
use crate::arguments::Run;
use crate::check::{Ending, workers};
use crate::children::Children;
use crate::recovery::{Recovered, Recovery};
use crate::report::{Report, Times, with_server};
use crate::schedule::{Fault, RESTARTS, Schedule, Step};
use crate::server::{Durable, terminate};

/// Between two looks at the processes and the schedule.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// When nothing has changed for so long, nothing will.
const PATIENCE: Duration = Duration::from_mins(2);

/// Runs with this seed.
pub async fn run(settings: &Run, seed: u64) -> Result<Report, Error> {
    let started = Instant::now();
    let server = Durable::start().await?;
    let logs = tempfile::Builder::new().prefix("fault-run-").tempdir()?;
    let pool = PgPoolOptions::new()
        .max_connections(4)
        .acquire_timeout(Duration::from_secs(1))
        .connect(&server.own_url())
        .await?;
    let children = Children::start(settings, &server.url(), logs.path().to_owned(), seed)?;
    let recovery = Recovery::default();
    let mut watching = JoinSet::new();
    watching.spawn(recovery.clone().watch(pool.clone()));
    let mut course = Course { server, pool, children, recovery, under_way: JoinSet::new() };

    let longest = settings.longest();
    let going = course.go_through(Schedule::new(settings, seed));
    let Ok(gone) = timeout(longest, going).await else {
        return Err(format!(
            "the run has not ended after {longest:?}: of {RESTARTS} restarts of the server {} are \
             over; the logs are in {}",
            course.server.away().len(),
            logs.keep().display()
        )
        .into());
    };
    let mut broken = gone?;
    drop(watching);

    let ending = Ending::look(&course.pool).await?;
    broken.extend(ending.broken_promises(settings));
    let panics = panics(&logs)?;
    if panics > 0 {
        broken.push(format!("{panics} panics are in the logs"));
    }
    let away = course.server.away();
    let recovered = course.recovery.recovered();
    let report = Report {
        seed,
        took: started.elapsed(),
        ending,
        tally: course.children.tally.counts().clone(),
        recovery: Times::of(recovered.iter().map(|recovered| recovered.to - recovered.from)),
        recovery_with_server: Times::of(
            recovered.iter().map(|recovered| with_server(recovered, &away)),
        ),
        slow: slow(&recovered, &away, started),
        away: away.iter().map(|(down, up)| *up - *down).collect(),
        broken,
    };
    Ok(judged(report, settings, logs))
}

fn slow(recovered: &[Recovered], away: &[(Instant, Instant)], started: Instant) -> Vec<String> {
    let slow = recovered.iter().filter(|recovered| with_server(recovered, away) > LEASE * 2);
    let moment = |moment: Instant| (moment - started).as_secs_f64();
    slow.map(|recovered| {
        format!(
            "worker process {} died at {:.2} s, its tasks were offered again by {:.2} s",
            recovered.process,
            moment(recovered.from),
            moment(recovered.to)
        )
    })
    .collect()
}

/// Adds what was promised of the time, and keeps the logs if a promise was broken.
fn judged(mut report: Report, settings: &Run, logs: TempDir) -> Report {
    let p99 = report.recovery_with_server.percentile(99);
    if p99 > LEASE * 2 && !settings.any_recovery_time {
        report.broken.push(format!("recovery takes {p99:?} (p99), more than twice the lease"));
    }
    if !report.broken.is_empty() {
        report.broken.push(format!("the logs are in {}", logs.keep().display()));
    }
    report
}

/// How many panics the processes have logged.
fn panics(logs: &TempDir) -> Result<usize, Error> {
    let mut panics = 0;
    for log in std::fs::read_dir(logs.path())? {
        panics += std::fs::read_to_string(log?.path())?.matches("panicked").count();
    }
    Ok(panics)
}

struct Course {
    server: Arc<Durable>,
    pool: PgPool,
    children: Children,
    recovery: Recovery,
    /// What the server suffers takes a while, and nothing else waits for it.
    under_way: JoinSet<Result<(), Error>>,
}

impl Course {
    /// From the first fault to the last process. What kept the tasks from being done is returned.
    async fn go_through(&mut self, schedule: Schedule) -> Result<Vec<String>, Error> {
        self.suffer(schedule).await?;
        let broken = self.drain().await?;
        self.end_workers().await?;
        self.let_a_survivor_look().await?;
        Ok(broken)
    }

    /// Follows the schedule until everything is published and the server was restarted often
    /// enough.
    async fn suffer(&mut self, schedule: Schedule) -> Result<(), Error> {
        let started = Instant::now();
        for step in schedule {
            while started.elapsed() < step.at {
                self.tend().await?;
            }
            if self.children.have_published() && self.server.away().len() == RESTARTS as usize {
                break;
            }
            self.apply(step)?;
        }
        self.children.resume_all()
    }

    fn apply(&mut self, step: Step) -> Result<(), Error> {
        match step.fault {
            Fault::Kill { process } => self.children.kill(process)?,
            Fault::Stop { process, pause } => self.children.stop(process, pause)?,
            Fault::Terminate { backend } => {
                let (pool, tally) = (self.pool.clone(), self.children.tally.clone());
                self.under_way.spawn(async move {
                    // The server may be away.
                    if let Ok(true) = terminate(&pool, backend).await {
                        tally.add("backend terminated", 1);
                    }
                    Ok(())
                });
            }
            Fault::Restart(how) => {
                let server = self.server.clone();
                self.children.tally.add(format!("server restarted ({how:?})"), 1);
                self.under_way
                    .spawn(async move { Ok(spawn_blocking(move || server.restart(how)).await??) });
            }
        }
        Ok(())
    }

    async fn tend(&mut self) -> Result<(), Error> {
        let deaths = self.children.tend()?;
        self.recovery.died(deaths);
        while let Some(done) = self.under_way.try_join_next() {
            done??;
        }
        sleep(LOOK_EVERY).await;
        Ok(())
    }

    /// Waits until nothing is left to do. What keeps it from that is returned.
    async fn drain(&mut self) -> Result<Vec<String>, Error> {
        while !self.under_way.is_empty() {
            self.tend().await?;
        }
        let queue = self.queue().await?;
        let (mut before, mut since) = (None, Instant::now());
        loop {
            self.tend().await?;
            let counts = queue.counts().await?;
            if counts.is_drained() && self.recovery.is_complete() {
                return Ok(Vec::new());
            }
            if before.replace(counts) != Some(counts) {
                since = Instant::now();
            }
            if since.elapsed() > PATIENCE {
                return Ok(vec![format!("nothing moves any more: {counts:?}")]);
            }
        }
    }

    async fn end_workers(&mut self) -> Result<(), Error> {
        self.children.close();
        while !self.children.are_done() {
            self.tend().await?;
            self.children.close(); // those that were started meanwhile
        }
        Ok(())
    }

    /// Whoever died as one of the last was seen by nobody: all others had ended before its lease
    /// did. Forgetting the dead is promised of the living, so one more lives for so long.
    async fn let_a_survivor_look(&self) -> Result<(), Error> {
        let (queue, survivor) = (self.queue().await?, WorkerId::generate());
        queue.register(survivor, &WorkerInfo::new(Queues::all(), 1)).await?;
        let since = Instant::now();
        while since.elapsed() < LEASE * 2 && workers(&self.pool).await? > 1 {
            queue.heartbeat(survivor).await?;
            queue.rescue(survivor, LEASE).await?;
            sleep(LEASE / 10).await;
        }
        Ok(queue.deregister(survivor).await?)
    }

    /// The queue, seen by a program that has no events and only looks.
    async fn queue(&self) -> Result<PostgresQueue, Error> {
        let events = Events::builder()
            .registry(Registry::builder().build()?)
            .settings(application::settings())
            .build()?;
        Ok(PostgresQueue::connect(&self.server.own_url(), &events).await?)
    }
}
