//! When reconcilers ran: remembered once for all processes.

use std::time::Duration;

use events_core::broker::BrokerError;
use events_core::cadence::{ReconcilerRuns, ReconcilerState, RunResult, RunStart};
use events_core::{Timestamp, WorkerId};
use futures_util::future::join_all;

use super::Harness;
use super::fixture::World;

const NAME: &str = "contract.sweep";
const MINUTE: Duration = Duration::from_mins(1);

fn start<H: Harness>(world: &World<H>, after: Option<Timestamp>) -> RunStart {
    let now = world.events.now();
    let started_by = WorkerId::generate();
    RunStart { name: NAME, after, started_at: now, started_by, next_at: now + MINUTE }
}

async fn state<H: Harness>(world: &World<H>) -> ReconcilerState {
    let mut all = world.broker().reconcilers().await.expect("tells");
    assert_eq!(all.len(), 1);
    all.remove(0)
}

/// Two processes that tick at the same moment never both run.
pub async fn of_many_that_begin_a_run_one_does<H: Harness>() {
    let world = World::<H>::start().await;
    let mut after = None;
    for _ in 0..10 {
        let starts: Vec<_> = (0..8).map(|_| start(&world, after)).collect();
        let begun = join_all(starts.iter().map(|start| world.broker().begin_run(start))).await;
        let begun: Vec<bool> =
            begun.into_iter().collect::<Result<_, BrokerError>>().expect("stamps");
        assert_eq!(begun.iter().filter(|begun| **begun).count(), 1);
        let winner = begun.iter().position(|begun| *begun).expect("one began");
        let state = state(&world).await;
        assert_eq!(state.started_by, Some(starts[winner].started_by));
        assert_eq!(state.started_at, Some(starts[winner].started_at));
        assert_eq!(state.next_at, starts[winner].next_at);
        assert!(state.is_running());
        after = state.started_at;
        world.clock.advance(MINUTE);
    }
}

/// Who has not heard of the newest run does not begin another.
pub async fn run_begins_only_after_the_one_that_is_known<H: Harness>() {
    let world = World::<H>::start().await;
    let first = start(&world, None);
    assert!(world.broker().begin_run(&first).await.expect("stamps"));
    world.clock.advance(MINUTE);
    assert!(!world.broker().begin_run(&start(&world, None)).await.expect("stamps"));
    let other = Some(first.started_at + MINUTE);
    assert!(!world.broker().begin_run(&start(&world, other)).await.expect("stamps"));
    assert_eq!(state(&world).await.started_at, Some(first.started_at));
    let next = start(&world, Some(first.started_at));
    assert!(world.broker().begin_run(&next).await.expect("stamps"));
}

/// The first to hear of it says when it is due.
pub async fn reconciler_is_announced_once<H: Harness>() {
    let world = World::<H>::start().await;
    assert_eq!(world.broker().reconcilers().await.expect("tells"), []);
    let due = world.events.now() + MINUTE;
    world.broker().announce_reconciler(NAME, due).await.expect("remembers");
    world.broker().announce_reconciler(NAME, due + MINUTE).await.expect("remembers");
    let known = state(&world).await;
    assert_eq!((known.name.as_str(), known.next_at), (NAME, due));
    assert_eq!((known.started_at, known.started_by, known.ended_at), (None, None, None));
    assert!(known.result.is_none() && !known.is_running());
    let first = start(&world, None);
    assert!(world.broker().begin_run(&first).await.expect("stamps"));
    world.broker().announce_reconciler(NAME, due + MINUTE).await.expect("remembers");
    assert_eq!(state(&world).await.next_at, first.next_at);
}

/// A process that stalled in the middle of its run has no say about a later one.
pub async fn end_of_a_run_is_remembered_unless_another_began<H: Harness>() {
    let world = World::<H>::start().await;
    let first = start(&world, None);
    assert!(world.broker().begin_run(&first).await.expect("stamps"));
    world.clock.advance(MINUTE);
    let ended_at = world.events.now();
    let result = RunResult { checked: 3, changed: 2, failed: 1, error: None };
    let end = world.broker().end_run(NAME, first.started_at, ended_at, &result);
    end.await.expect("remembers");
    let ended = state(&world).await;
    assert_eq!((ended.ended_at, &ended.result), (Some(ended_at), &Some(result.clone())));
    assert!(!ended.is_running());
    world.clock.advance(MINUTE);
    let second = start(&world, Some(first.started_at));
    assert!(world.broker().begin_run(&second).await.expect("stamps"));
    let running = state(&world).await;
    assert_eq!(running.result, Some(result.clone()), "that of the last run that ended");
    assert!(running.is_running());
    let failed = RunResult::failed("late");
    let late = world.broker().end_run(NAME, first.started_at, ended_at + MINUTE, &failed);
    late.await.expect("is refused without an error");
    assert_eq!(state(&world).await, running);
}
