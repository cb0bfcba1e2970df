//! What a test does to a broker, one step at a time, and how such steps are made up.
//!
//! Steps name workers, claims and dead letters by number, counted round among those that there are
//! when the step is taken. So every part of a sequence is a sequence as well, and can be shrunk.

use std::ops::Range;
use std::time::Duration;

use events_core::broker::Queues;
use proptest::collection::vec;
use proptest::prelude::*;

use super::program::{Kind, LEASE};

/// How many workers there are at a time.
pub const WORKERS: usize = 3;

/// One step.
#[derive(Debug, Clone)]
pub enum Operation {
    /// A session publishes, some time passes, and it ends.
    Publish { kinds: Vec<Kind>, pause: Duration, ending: Ending },
    /// A worker claims.
    Claim { worker: usize, queues: Served, limit: usize },
    /// A worker settles a batch.
    Settle { worker: usize, batch: Vec<(Which, Fate)> },
    /// A worker begins the transaction of a task, publishes in it and ends it.
    Transact { worker: usize, which: Which, kinds: Vec<Kind>, ending: Ending },
    /// Time passes, and nobody does anything.
    Wait(Duration),
    /// Workers beat and rescue, as they do three times a lease. All others are silent.
    Beat(Workers),
    /// Thirds of a lease pass, in which these workers beat and rescue. All others are stalled.
    Outlive { survivors: Workers, thirds: u32 },
    /// The process of a worker is replaced: the new one has another id, and of the old one nobody
    /// hears again.
    Replace { worker: usize },
    /// A worker ends, with or without tasks in its hands.
    Deregister { worker: usize },
    /// An operator has a dead letter tried again.
    Retry { letter: usize },
    /// An operator discards a dead letter.
    Discard { letter: usize },
}

/// How a session or a task's transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Commit,
    RollBack,
    Drop,
}

/// Which queues a claim names.
#[derive(Debug, Clone, Copy)]
pub enum Served {
    All,
    OnlyOther,
    AllButOther,
}

impl Served {
    pub fn queues(self) -> Queues {
        match self {
            Self::All => Queues::all(),
            Self::OnlyOther => Queues::only(["other"]),
            Self::AllButOther => Queues::all().except(["other"]),
        }
    }
}

/// Which claim a worker means.
#[derive(Debug, Clone, Copy)]
pub enum Which {
    /// One whose task it holds now, if there is one.
    Held(usize),
    /// An earlier one of a task that it holds now, if there is one.
    Earlier(usize),
    /// Any that anybody ever got.
    Any(usize),
}

/// What became of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Complete,
    Retry(Duration),
    Release(Duration),
    Bury,
}

/// Some of the workers.
#[derive(Debug, Clone, Copy)]
pub struct Workers([bool; WORKERS]);

impl Workers {
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..WORKERS).filter(move |worker| self.0[*worker])
    }
}

/// Sequences of steps.
pub fn sequences(lengths: Range<usize>) -> impl Strategy<Value = Vec<Operation>> {
    vec(operation(), lengths)
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        5 => (kinds(1..4), pause(), ending())
            .prop_map(|(kinds, pause, ending)| Operation::Publish { kinds, pause, ending }),
        6 => (worker(), served(), 1..7_usize)
            .prop_map(|(worker, queues, limit)| Operation::Claim { worker, queues, limit }),
        6 => (worker(), vec((which(), fate()), 1..6))
            .prop_map(|(worker, batch)| Operation::Settle { worker, batch }),
        3 => (worker(), which(), kinds(0..3), ending()).prop_map(
            |(worker, which, kinds, ending)| Operation::Transact { worker, which, kinds, ending }
        ),
        3 => pause().prop_map(Operation::Wait),
        3 => workers().prop_map(Operation::Beat),
        4 => (workers(), 1..8_u32)
            .prop_map(|(survivors, thirds)| Operation::Outlive { survivors, thirds }),
        2 => worker().prop_map(|worker| Operation::Replace { worker }),
        1 => worker().prop_map(|worker| Operation::Deregister { worker }),
        2 => any::<usize>().prop_map(|letter| Operation::Retry { letter }),
        1 => any::<usize>().prop_map(|letter| Operation::Discard { letter }),
    ]
}

fn worker() -> impl Strategy<Value = usize> {
    0..WORKERS
}

fn workers() -> impl Strategy<Value = Workers> {
    any::<[bool; WORKERS]>().prop_map(Workers)
}

fn kinds(count: Range<usize>) -> impl Strategy<Value = Vec<Kind>> {
    vec(prop::sample::select(&Kind::ALL[..]), count)
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![4 => Just(Ending::Commit), 1 => Just(Ending::RollBack), 1 => Just(Ending::Drop)]
}

fn served() -> impl Strategy<Value = Served> {
    prop_oneof![3 => Just(Served::All), 1 => Just(Served::OnlyOther), 1 => Just(Served::AllButOther)]
}

fn which() -> impl Strategy<Value = Which> {
    prop_oneof![
        4 => any::<usize>().prop_map(Which::Held),
        1 => any::<usize>().prop_map(Which::Earlier),
        1 => any::<usize>().prop_map(Which::Any),
    ]
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        2 => Just(Fate::Complete),
        3 => pause().prop_map(Fate::Retry),
        2 => pause().prop_map(Fate::Release),
        2 => Just(Fate::Bury),
    ]
}

/// None, short ones, and those about which the lease is concerned.
fn pause() -> impl Strategy<Value = Duration> {
    prop_oneof![
        4 => Just(Duration::ZERO),
        2 => Just(Duration::from_micros(1)),
        2 => Just(Duration::from_secs(1)),
        2 => Just(LEASE / 3),
        1 => Just(LEASE),
        1 => Just(LEASE + Duration::from_micros(1)),
        1 => Just(Duration::from_hours(1)),
    ]
}
