//! Who is taken for dead, by whom and when. The lease is 15 seconds, a heartbeat comes every 5.

use std::time::Duration;

use events_core::broker::{Heartbeat, WorkerInfo};
use events_core::lifecycle::Next;
use events_core::{Admin, Broker, EventSettings, Queues, WorkerId};
use events_sqlx::SqliteQueue;

use crate::sqlite::support::Fixture;

const LEASE: Duration = Duration::from_secs(15);
const BEAT: Duration = Duration::from_secs(5);

impl Fixture {
    /// Lets time pass, and `alive` beat and rescue. Returns how many tasks were rescued.
    async fn pass(&self, time: Duration, alive: &[WorkerId]) -> usize {
        self.clock.advance(time);
        let mut rescued = 0;
        for worker in alive {
            assert_eq!(self.queue.heartbeat(*worker).await.unwrap(), Heartbeat::Alive);
            rescued += self.queue.rescue(*worker, LEASE).await.unwrap().len();
        }
        rescued
    }
}

#[tokio::test]
async fn tasks_of_a_silent_worker_are_offered_again_when_its_lease_has_lapsed() {
    let fixture = Fixture::new().await;
    let (dead, alive) = (fixture.worker().await, fixture.worker().await);
    fixture.publish(1).await;
    let lost = fixture.claim(dead, 1).await.tasks.remove(0);
    for _ in 0..3 {
        assert_eq!(fixture.pass(BEAT, &[alive]).await, 0);
    }
    fixture.clock.advance(BEAT);
    fixture.queue.heartbeat(alive).await.unwrap();
    let rescued = fixture.queue.rescue(alive, LEASE).await.unwrap();
    assert_eq!(rescued.len(), 1);
    assert_eq!((rescued[0].task_id, rescued[0].worker), (lost.task.id, dead));
    assert_eq!(rescued[0].attempt, 1);
    // The attempt stays spent, and the next comes without delay.
    let again = fixture.claim(alive, 1).await.tasks.remove(0);
    assert_eq!((again.attempt, again.task.id), (2, lost.task.id));
    assert_ne!(again.receipt, lost.receipt);
}

#[tokio::test]
async fn a_worker_that_comes_back_from_the_dead_can_do_nothing() {
    let fixture = Fixture::new().await;
    let (dead, alive) = (fixture.worker().await, fixture.worker().await);
    fixture.publish(1).await;
    let old = fixture.claim(dead, 1).await.tasks[0].receipt;
    let mut rescued = 0;
    for _ in 0..4 {
        rescued += fixture.pass(BEAT, &[alive]).await;
    }
    assert_eq!(rescued, 1);
    let new = fixture.claim(alive, 1).await.tasks[0].receipt;
    assert_eq!(fixture.queue.heartbeat(dead).await.unwrap(), Heartbeat::Lost);
    assert!(fixture.queue.begin_task(dead, &old).await.unwrap().is_none());
    assert!(!fixture.settle(dead, old, 1, Next::Complete).await);
    assert!(!fixture.settle(alive, old, 1, Next::Complete).await);
    let error = fixture.queue.claim(dead, &Queues::all(), 1).await.unwrap_err();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("not registered"));
    assert!(fixture.settle(alive, new, 2, Next::Complete).await);
    assert_eq!(fixture.tasks().await, 0);
}

#[tokio::test]
async fn lost_attempts_are_in_the_history_and_delay_grows_with_them() {
    let fixture = Fixture::new().await;
    let alive = fixture.worker().await;
    fixture.publish(1).await;
    for attempt in 1..=2 {
        let dead = fixture.worker().await;
        assert_eq!(fixture.claim(dead, 1).await.tasks[0].attempt, attempt);
        let mut rescued = 0;
        while rescued == 0 {
            rescued = fixture.pass(BEAT, &[alive]).await;
        }
    }
    assert_eq!(fixture.queue.counts().await.unwrap().scheduled, 1);
    fixture.pass(BEAT, &[alive]).await;
    let lease = fixture.claim(alive, 1).await.tasks.remove(0);
    let bury = Next::Bury { error: "enough".into() };
    assert!(fixture.settle(alive, lease.receipt, lease.attempt, bury).await);
    let letters = fixture.queue.dead_letters(10, None).await.unwrap();
    let history: Vec<_> =
        letters[0].attempts.iter().map(|one| (one.attempt, one.error.as_str())).collect();
    assert!(history[0].1.contains("died or stalled") && history[1].1.contains("died or stalled"));
    assert_eq!((history[0].0, history[1].0, history[2]), (1, 2, (3, "enough")));
}

/// One long transaction keeps everybody from writing heartbeats.
#[tokio::test]
async fn who_could_not_write_itself_draws_no_conclusion_about_others() {
    let fixture = Fixture::new().await;
    let (busy, observer) = (fixture.worker().await, fixture.worker().await);
    fixture.publish(1).await;
    let lease = fixture.claim(busy, 1).await.tasks.remove(0);
    for _ in 0..3 {
        fixture.pass(BEAT, &[busy, observer]).await;
    }
    // Nobody writes for four leases; then the observer comes first.
    assert_eq!(fixture.pass(4 * LEASE, &[observer]).await, 0);
    // And a second time, soon after, before the other's turn.
    assert_eq!(fixture.pass(Duration::from_millis(100), &[observer]).await, 0);
    for _ in 0..5 {
        assert_eq!(fixture.pass(BEAT, &[busy, observer]).await, 0);
    }
    assert!(fixture.settle(busy, lease.receipt, 1, Next::Complete).await);
}

#[tokio::test]
async fn a_clock_that_jumps_forward_makes_nobody_take_the_living_for_dead() {
    let fixture = Fixture::new().await;
    let (first, second) = (fixture.worker().await, fixture.worker().await);
    fixture.publish(1).await;
    let lease = fixture.claim(first, 1).await.tasks.remove(0);
    for jump in [Duration::from_hours(24 * 365), LEASE] {
        for _ in 0..3 {
            fixture.pass(BEAT, &[first, second]).await;
        }
        fixture.clock.advance(jump);
        for _ in 0..5 {
            assert_eq!(fixture.pass(BEAT, &[second]).await, 0);
            assert_eq!(fixture.pass(Duration::ZERO, &[first]).await, 0);
        }
    }
    assert!(fixture.settle(first, lease.receipt, 1, Next::Complete).await);
}

#[tokio::test]
async fn a_worker_that_died_before_the_clock_went_back_is_found_all_the_same() {
    let fixture = Fixture::new().await;
    let (dead, alive) = (fixture.worker().await, fixture.worker().await);
    fixture.publish(1).await;
    fixture.claim(dead, 1).await;
    fixture.pass(BEAT, &[dead, alive]).await;
    fixture.clock.rewind(Duration::from_hours(24 * 365));
    for _ in 0..4 {
        assert_eq!(fixture.pass(BEAT, &[alive]).await, 0);
    }
    assert_eq!(fixture.pass(BEAT, &[alive]).await, 1);
}

#[tokio::test]
async fn leases_of_a_worker_that_left_are_offered_again_at_once() {
    let fixture = Fixture::new().await;
    let (gone, alive) = (fixture.worker().await, fixture.worker().await);
    fixture.publish(1).await;
    fixture.claim(gone, 1).await;
    fixture.queue.deregister(gone).await.unwrap();
    assert_eq!(fixture.pass(Duration::ZERO, &[alive]).await, 1);
    assert_eq!(fixture.claim(alive, 1).await.tasks[0].attempt, 2);
}

/// As while a change of the setting is rolled out.
#[tokio::test]
async fn a_worker_with_a_longer_lease_is_judged_by_its_own() {
    let fixture = Fixture::new().await;
    let patient = EventSettings { lease: 4 * LEASE, ..Default::default() };
    let patient = crate::sqlite::support::events(patient, &fixture.clock);
    let patient = SqliteQueue::open(fixture.path(), &patient).await.unwrap();
    let (slow, observer) = (WorkerId::generate(), fixture.worker().await);
    patient.register(slow, &WorkerInfo::new(Queues::all(), 1)).await.unwrap();
    fixture.publish(1).await;
    assert_eq!(patient.claim(slow, &Queues::all(), 1).await.unwrap().tasks.len(), 1);
    // It beats three times in a lease of its own.
    for _ in 0..3 {
        for _ in 0..4 {
            assert_eq!(fixture.pass(BEAT, &[observer]).await, 0);
        }
        assert_eq!(patient.heartbeat(slow).await.unwrap(), Heartbeat::Alive);
    }
    for _ in 0..12 {
        assert_eq!(fixture.pass(BEAT, &[observer]).await, 0);
    }
    let rescued = fixture.pass(BEAT, &[observer]).await + fixture.pass(BEAT, &[observer]).await;
    assert_eq!(rescued, 1);
}
