//! How long it takes until the tasks of a dead worker are offered again.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::PgPool;

use crate::children::Death;

/// Between two looks at the database.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks at who holds which leases, all the time. Clones share what they saw.
#[derive(Debug, Clone, Default)]
pub struct Recovery(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    /// Which process a worker is, or was.
    processes: HashMap<String, u32>,
    dead: Vec<Dead>,
    recovered: Vec<Recovered>,
}

#[derive(Debug)]
struct Dead {
    death: Death,
    held_tasks: bool,
}

/// A dead worker of whose tasks none is leased to it any more.
#[derive(Debug, Clone, Copy)]
pub struct Recovered {
    pub process: u32,
    pub from: Instant,
    pub to: Instant,
}

impl Recovery {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn died(&self, deaths: Vec<Death>) {
        let dead = deaths.into_iter().map(|death| Dead { death, held_tasks: false });
        self.seen().dead.extend(dead);
    }

    /// Whether no worker is dead whose tasks are still to be taken over.
    pub fn is_complete(&self) -> bool {
        self.seen().dead.is_empty()
    }

    /// Those dead workers that held tasks.
    pub fn recovered(&self) -> Vec<Recovered> {
        self.seen().recovered.clone()
    }

    /// Looks, until dropped.
    pub async fn watch(self, pool: PgPool) {
        loop {
            // Of what died while the question was under way, the answer says nothing.
            let asked = Instant::now();
            // The tables are not there at first, and the server is not there all the time.
            if let Ok((workers, holders)) = look(&pool).await {
                self.seen().update(asked, workers, &holders);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// The registered workers with the queues that they serve, and who holds leases.
async fn look(pool: &PgPool) -> Result<(Vec<(String, String)>, HashSet<String>), sqlx::Error> {
    const WORKERS: &str = "SELECT id::text, queues::text FROM events.workers";
    const HOLDERS: &str = "SELECT DISTINCT leased_by::text FROM events.tasks
        WHERE leased_by IS NOT NULL";
    let workers = sqlx::query_as(WORKERS).fetch_all(pool).await?;
    let holders: Vec<String> = sqlx::query_scalar(HOLDERS).fetch_all(pool).await?;
    Ok((workers, holders.into_iter().collect()))
}

impl Seen {
    fn update(
        &mut self,
        asked: Instant,
        workers: Vec<(String, String)>,
        holders: &HashSet<String>,
    ) {
        let registered: HashSet<_> = workers.iter().map(|(id, _)| id.clone()).collect();
        for (id, queues) in workers {
            if let Some(process) = marked_process(&queues) {
                self.processes.insert(id, process);
            }
        }
        let now = Instant::now();
        let Self { processes, dead, recovered } = self;
        dead.retain_mut(|dead| {
            if dead.death.at > asked {
                return true;
            }
            let ids = processes.iter().filter(|(_, process)| **process == dead.death.process);
            let ids: Vec<_> = ids.map(|(id, _)| id).collect();
            dead.held_tasks |= ids.iter().any(|id| holders.contains(*id));
            if ids.iter().any(|id| holders.contains(*id) || registered.contains(*id)) {
                return true;
            }
            if dead.held_tasks {
                recovered.push(Recovered {
                    process: dead.death.process,
                    from: dead.death.at,
                    to: now,
                });
            }
            false
        });
    }
}

/// See [`mark`](crate::worker::mark).
fn marked_process(queues: &str) -> Option<u32> {
    let (_, rest) = queues.split_once("process-")?;
    let digits = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}
