//! How a queue is doing: what an operator looks at, and what a worker warns about.

use std::fmt;
use std::time::Duration;

use crate::broker::Queues;
use crate::clock::Timestamp;
use crate::event::WorkerId;
use crate::outbox::Backlog;

/// How a queue is doing, at one moment.
///
/// ```
/// # use std::time::Duration;
/// # use events_core::health::{Health, QueueHealth};
/// let health = Health {
///     queues: vec![QueueHealth {
///         queue: "mail".into(),
///         oldest_waiting: Duration::from_secs(90),
///         workers: 0,
///     }],
///     ..Health::default()
/// };
/// assert_eq!(
///     health.concerns()[0].to_string(),
///     "no worker serves the queue `mail`, where a task has been due for 1m 30s; \
///      start a worker for it, or look why the one that did has ended"
/// );
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Health {
    /// The queues in which tasks are due, sorted by name.
    pub queues: Vec<QueueHealth>,
    /// The queues in which tasks are due though they are [forwarded](crate::Forwarding) by now: no
    /// worker serves them, and they are not among `queues`.
    pub stranded: Vec<QueueHealth>,
    /// The registered workers, the longest silent first.
    pub workers: Vec<WorkerHealth>,
    /// Tasks of workers that are gone which nobody has offered again: as a rule because a
    /// transaction is still open in which they complete, or because no worker runs.
    pub held_by_transactions: u64,
    /// The outboxes: those that this program writes to, and those in which something waits.
    pub outboxes: Vec<OutboxHealth>,
    /// What the database itself says, where there is one that needs care.
    pub storage: Option<StorageHealth>,
}

/// A queue in which tasks are due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueHealth {
    /// Its name.
    pub queue: String,
    /// For how long its oldest task has been due.
    pub oldest_waiting: Duration,
    /// How many live workers serve it.
    pub workers: usize,
}

/// A registered worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerHealth {
    /// Its id.
    pub worker: WorkerId,
    /// How long ago its last heartbeat was, by the clock of who asks.
    pub silent: Duration,
    /// How long it may be silent, by its own settings.
    pub lease: Duration,
}

/// An outbox, and who drains it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxHealth {
    /// Its name.
    pub outbox: String,
    /// How many tasks wait in it to be sent, and for how long the oldest.
    pub backlog: Backlog,
    /// Whether a relay holds its lease.
    pub relayed: bool,
}

/// What keeps a database from cleaning up after the queue.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StorageHealth {
    /// The rows of the tasks' table.
    pub live_rows: u64,
    /// Its deleted and outdated rows that still take room.
    pub dead_rows: u64,
    /// The oldest snapshot that somebody holds: what was deleted since cannot be cleaned up.
    pub oldest_snapshot: Option<Snapshot>,
}

/// A snapshot of the database that somebody holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// For how long, if the database tells: of a replication slot, or of a session of somebody else
    /// whose details this user may not see, it does not.
    pub age: Option<Duration>,
    /// Who: what to look for among the database's sessions.
    pub holder: String,
}

/// A task that has been due for longer is worth a line, even when workers serve its queue.
const LONG_WAIT: Duration = Duration::from_mins(5);

/// A queue without a worker: longer than a worker needs to restart.
const UNSERVED: Duration = Duration::from_mins(1);

/// Tasks of a forwarded queue: longer than the relay of its outbox needs to find and move them.
const STRANDED: Duration = Duration::from_mins(2);

/// Tasks in an outbox that wait for longer: a relay sends them within milliseconds.
const LONG_IN_OUTBOX: Duration = Duration::from_mins(1);

/// A snapshot held for longer than queries of an application should take.
const LONG_SNAPSHOT: Duration = Duration::from_mins(5);

/// Fewer dead rows cost nobody anything.
const MANY_DEAD_ROWS: u64 = 100_000;

/// A worker as a broker knows it.
#[derive(Debug, Clone)]
pub struct RegisteredWorker {
    /// Its id.
    pub worker: WorkerId,
    /// Its last heartbeat.
    pub heartbeat_at: Timestamp,
    /// How long it may be silent, by its own settings.
    pub lease: Duration,
    /// The queues that it serves.
    pub queues: Queues,
}

impl RegisteredWorker {
    /// Whether it is not silent for longer than it may be.
    #[must_use]
    pub fn is_alive(&self, now: Timestamp) -> bool {
        now.since(self.heartbeat_at) <= self.lease
    }
}

impl Health {
    /// What brokers have in common: the oldest due time of each queue that has due tasks, sorted by
    /// name, and the workers.
    pub fn of(
        due: impl IntoIterator<Item = (String, Timestamp)>,
        workers: &[RegisteredWorker],
        now: Timestamp,
    ) -> Self {
        let alive: Vec<_> = workers.iter().filter(|worker| worker.is_alive(now)).collect();
        let queues = due.into_iter().map(|(queue, due_at)| QueueHealth {
            workers: alive.iter().filter(|worker| worker.queues.contains(&queue)).count(),
            oldest_waiting: now.since(due_at),
            queue,
        });
        let workers = workers.iter().map(|found| WorkerHealth {
            worker: found.worker,
            silent: now.since(found.heartbeat_at),
            lease: found.lease,
        });
        let mut workers: Vec<_> = workers.collect();
        workers.sort_by_key(|worker| std::cmp::Reverse(worker.silent));
        Self { queues: queues.collect(), workers, ..Self::default() }
    }

    /// Tells apart what waits in these queues, whose tasks are forwarded.
    #[must_use]
    pub fn forwarded(self, forwarded: &Queues) -> Self {
        let is_forwarded = |queue: &QueueHealth| forwarded.contains(&queue.queue);
        let (stranded, queues) = self.queues.into_iter().partition(is_forwarded);
        Self { queues, stranded, ..self }
    }

    /// What somebody should do something about, most urgent first. Empty when all is well.
    #[must_use]
    pub fn concerns(&self) -> Vec<Concern> {
        let unserved = self.queues.iter().filter(|queue| queue.workers == 0);
        let unserved = unserved.filter(|queue| queue.oldest_waiting >= UNSERVED);
        let unserved = unserved.cloned().map(Concern::QueueWithoutWorker);
        let stranded = self.stranded.iter().filter(|queue| queue.oldest_waiting >= STRANDED);
        let stranded = stranded.cloned().map(Concern::StrandedTasks);
        let silent = self.workers.iter().filter(|worker| worker.silent > worker.lease * 2);
        let silent = silent.cloned().map(Concern::SilentWorker);
        let waiting = self.queues.iter().filter(|queue| queue.workers > 0);
        let waiting = waiting.filter(|queue| queue.oldest_waiting >= LONG_WAIT);
        let waiting = waiting.cloned().map(Concern::LongWait);
        let held = (self.held_by_transactions > 0)
            .then_some(Concern::HeldByTransactions { tasks: self.held_by_transactions });
        let storage = self.storage.iter().flat_map(StorageHealth::concerns);
        let (outbox, later) = (self.outboxes.iter().filter_map(OutboxHealth::concern), storage);
        let unserved = unserved.chain(stranded);
        unserved.chain(silent).chain(outbox).chain(waiting).chain(held).chain(later).collect()
    }
}

impl OutboxHealth {
    /// An outbox, what waits in it, and whether a relay holds its lease.
    #[must_use]
    pub fn new(outbox: impl Into<String>, backlog: Backlog, relayed: bool) -> Self {
        Self { outbox: outbox.into(), backlog, relayed }
    }

    fn concern(&self) -> Option<Concern> {
        let long = self.backlog.tasks > 0 && self.backlog.oldest >= LONG_IN_OUTBOX;
        long.then(|| match self.relayed {
            true => Concern::OutboxWaits(self.clone()),
            false => Concern::OutboxWithoutRelay(self.clone()),
        })
    }
}

impl StorageHealth {
    fn concerns(&self) -> Vec<Concern> {
        let bloated = self.dead_rows >= MANY_DEAD_ROWS && self.dead_rows > 2 * self.live_rows;
        // Where its age is not known, what it does tells.
        let old = |snapshot: &&Snapshot| snapshot.age.map_or(bloated, |age| age >= LONG_SNAPSHOT);
        let snapshot = self.oldest_snapshot.as_ref().filter(old);
        let snapshot = snapshot.cloned().map(Concern::OldSnapshot);
        let dead = bloated.then_some(Concern::DeadRows { rows: self.dead_rows });
        snapshot.into_iter().chain(dead).collect()
    }
}

/// Something that an operator should look at. Shown as a sentence that says what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Concern {
    /// Tasks are due in a queue, and nobody serves it.
    QueueWithoutWorker(QueueHealth),
    /// Tasks are due in a queue that is forwarded by now, so that no worker serves it.
    StrandedTasks(QueueHealth),
    /// A worker is registered and silent, and nobody has taken its tasks.
    SilentWorker(WorkerHealth),
    /// Tasks wait in an outbox, and no relay sends them.
    OutboxWithoutRelay(OutboxHealth),
    /// The relay of an outbox does not keep up, or its broker is away.
    OutboxWaits(OutboxHealth),
    /// The workers of a queue do not keep up, or do not claim.
    LongWait(QueueHealth),
    /// Transactions of workers that are gone are still open.
    HeldByTransactions {
        /// The tasks that complete in them.
        tasks: u64,
    },
    /// Somebody holds a snapshot of the database for long.
    OldSnapshot(Snapshot),
    /// The tasks' table consists mostly of rows that are gone.
    DeadRows {
        /// How many.
        rows: u64,
    },
}

impl fmt::Display for Concern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::QueueWithoutWorker(QueueHealth { queue, oldest_waiting, .. }) => write!(
                f,
                "no worker serves the queue `{queue}`, where a task has been due for {}; start a worker for it, or look why the one that did has ended",
                Short(*oldest_waiting)
            ),
            Self::StrandedTasks(QueueHealth { queue, oldest_waiting, .. }) => write!(
                f,
                "a task of the queue `{queue}` has been due in the database for {}, though its tasks are forwarded by now and no worker serves it; run the relay of its outbox, which moves such tasks there, or, if they are forwarded after the commit, a worker of a program that does not forward them",
                Short(*oldest_waiting)
            ),
            Self::SilentWorker(WorkerHealth { worker, silent, lease }) => write!(
                f,
                "worker {worker} is silent for {}, longer than its lease of {}, and no other worker takes its tasks; start one",
                Short(*silent),
                Short(*lease)
            ),
            Self::OutboxWithoutRelay(OutboxHealth { outbox, backlog, .. }) => write!(
                f,
                "no relay drains the outbox `{outbox}`, where tasks ({}) wait to be sent, the oldest for {}; run a `Relay`, or a worker that has one, in some process",
                backlog.tasks,
                Short(backlog.oldest)
            ),
            Self::OutboxWaits(OutboxHealth { outbox, backlog, .. }) => write!(
                f,
                "tasks ({}) wait in the outbox `{outbox}`, the oldest for {}, though a relay drains it; is its broker reachable? the relay's log says why they are not sent",
                backlog.tasks,
                Short(backlog.oldest)
            ),
            Self::LongWait(QueueHealth { queue, oldest_waiting, workers }) => write!(
                f,
                "a task of the queue `{queue}` has been due for {}, though workers serve it ({workers}); add workers or concurrency, or look for handlers that are stuck",
                Short(*oldest_waiting)
            ),
            Self::HeldByTransactions { tasks } => write!(
                f,
                "tasks of workers that are gone wait to be offered again ({tasks}); start a worker if none runs, otherwise look for transactions that are open in which they complete: stopped processes, and sessions idle in transaction"
            ),
            Self::OldSnapshot(Snapshot { age, holder }) => {
                write!(f, "{holder} holds a snapshot")?;
                if let Some(age) = age {
                    write!(f, " for {}", Short(*age))?;
                }
                write!(f, ", so that the database cannot clean up after the queue; end it")
            }
            Self::DeadRows { rows } => write!(
                f,
                "the tasks' table holds {rows} dead rows that claims must step over; look for an old snapshot, and whether autovacuum runs"
            ),
        }
    }
}

/// A duration to the second.
struct Short(Duration);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(Duration::from_secs(self.0.as_secs())).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn queue(workers: usize) -> QueueHealth {
        QueueHealth { queue: "mail".into(), oldest_waiting: HOUR, workers }
    }

    fn outbox(relayed: bool) -> OutboxHealth {
        OutboxHealth::new("default", Backlog::new(12, HOUR), relayed)
    }

    #[test]
    fn every_trouble_is_a_concern_and_says_what_to_do() {
        let silent = WorkerHealth {
            worker: WorkerId::generate(),
            silent: HOUR,
            lease: Duration::from_secs(15),
        };
        let snapshot = Snapshot { age: Some(HOUR), holder: "process 7".into() };
        let health = Health {
            queues: vec![queue(0), queue(2)],
            stranded: vec![queue(0)],
            workers: vec![silent.clone()],
            held_by_transactions: 3,
            outboxes: vec![outbox(false), outbox(true)],
            storage: Some(StorageHealth {
                live_rows: 10,
                dead_rows: 1_000_000,
                oldest_snapshot: Some(snapshot.clone()),
            }),
        };
        let concerns = health.concerns();
        let expected = [
            Concern::QueueWithoutWorker(queue(0)),
            Concern::StrandedTasks(queue(0)),
            Concern::SilentWorker(silent),
            Concern::OutboxWithoutRelay(outbox(false)),
            Concern::OutboxWaits(outbox(true)),
            Concern::LongWait(queue(2)),
            Concern::HeldByTransactions { tasks: 3 },
            Concern::OldSnapshot(snapshot),
            Concern::DeadRows { rows: 1_000_000 },
        ];
        assert_eq!(concerns, expected);
        let remedies = [
            "start a worker",
            "run the relay of its outbox",
            "start one",
            "run a `Relay`",
            "is its broker reachable?",
            "add workers",
            "look for transactions",
            "end",
            "look",
        ];
        for (concern, remedy) in concerns.iter().zip(remedies) {
            assert!(concern.to_string().contains(remedy), "{concern}");
        }
    }

    #[test]
    fn a_snapshot_of_unknown_age_is_a_concern_once_dead_rows_pile_up() {
        let slot = Snapshot { age: None, holder: "the replication slot x".into() };
        let storage = |dead_rows| Health {
            storage: Some(StorageHealth {
                live_rows: 10,
                dead_rows,
                oldest_snapshot: Some(slot.clone()),
            }),
            ..Health::of([], &[], Timestamp::from_micros(0))
        };
        assert_eq!(storage(1_000).concerns(), []);
        let concerns = storage(1_000_000).concerns();
        assert_eq!(concerns[0], Concern::OldSnapshot(slot));
        assert!(concerns[0].to_string().starts_with("the replication slot x holds a snapshot, so"));
    }

    #[test]
    fn what_will_pass_by_itself_is_no_concern() {
        let second = Duration::from_secs(1);
        let health = Health {
            queues: vec![QueueHealth { oldest_waiting: second, ..queue(0) }],
            stranded: vec![QueueHealth { oldest_waiting: second, ..queue(0) }],
            workers: vec![WorkerHealth {
                worker: WorkerId::generate(),
                silent: second,
                lease: second,
            }],
            held_by_transactions: 0,
            outboxes: vec![OutboxHealth { backlog: Backlog::new(1, second), ..outbox(false) }],
            storage: Some(StorageHealth {
                live_rows: 1_000_000,
                dead_rows: 1_000_000,
                oldest_snapshot: Some(Snapshot { age: Some(second), holder: "somebody".into() }),
            }),
        };
        assert_eq!(health.concerns(), []);
    }
}
