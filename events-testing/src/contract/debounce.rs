//! Tasks that wait: for a while, or until their key is quiet.

use std::time::Duration;

use events_core::broker::{Admin, Broker, Queues};
use events_core::lifecycle::Next;
use futures_util::future::join_all;

use super::Harness;
use super::fixture::{DELAY, Delayed, Keyed, LONGEST, QUIET, World, number, numbers, put, retry};

const SECOND: Duration = Duration::from_secs(1);

/// Quiet for a second less than is asked for.
const NEARLY: Duration = Duration::from_secs(QUIET.as_secs() - 1);

/// Not before, and then as any other.
pub async fn delayed_task_is_due_after_its_delay<H: Harness>() {
    let world = World::<H>::start().await;
    let worker = world.worker().await;
    world.publish(Delayed { number: 1 }).await;
    let due = world.events.now() + DELAY;
    let claimed = world.broker().claim(worker, &Queues::all(), 1).await.expect("claims");
    assert!(claimed.tasks.is_empty());
    assert_eq!(claimed.next_due, Some(due));
    world.clock.advance(DELAY);
    assert_eq!(number(&world.claim_one(worker).await), 1);
}

/// The claim says when.
pub async fn task_waits_until_its_key_is_quiet<H: Harness>() {
    let world = World::<H>::start().await;
    let worker = world.worker().await;
    world.publish_keyed("a", 1).await;
    let due = world.events.now() + QUIET;
    let claimed = world.broker().claim(worker, &Queues::all(), 1).await.expect("claims");
    assert!(claimed.tasks.is_empty());
    assert_eq!(claimed.next_due, Some(due));
    world.clock.advance(QUIET);
    let lease = world.claim_one(worker).await;
    assert_eq!((number(&lease), lease.attempt), (1, 1));
    assert!(world.settle(worker, &lease, Next::Complete).await);
    assert!(world.broker().counts().await.expect("counts").is_drained());
}

/// One task, that of the newest event, and the time runs anew.
pub async fn newer_event_takes_the_place_of_the_one_that_waits<H: Harness>() {
    let world = World::<H>::start().await;
    let worker = world.worker().await;
    world.publish_keyed("a", 1).await;
    world.clock.advance(NEARLY);
    let newer = world.publish_keyed("a", 2).await;
    world.clock.advance(NEARLY);
    assert!(world.claim(worker, 10).await.is_empty(), "it is not quiet for long enough");
    world.clock.advance(SECOND);
    let lease = world.claim_one(worker).await;
    assert_eq!((number(&lease), lease.task.event_id), (2, newer));
}

/// Of the events of one session too.
pub async fn newest_event_of_one_commit_counts<H: Harness>() {
    let world = World::<H>::start().await;
    let worker = world.worker().await;
    let mut session = world.harness.begin().await;
    for number in 1..=5 {
        put(&mut session, Keyed { key: "a".into(), number });
        put(&mut session, Keyed { key: "b".into(), number: 10 * number });
    }
    world.harness.commit(session).await.expect("commits");
    assert_eq!(world.broker().counts().await.expect("counts").scheduled, 2);
    world.clock.advance(QUIET);
    let mut found = numbers(&world.claim(worker, 10).await);
    found.sort_unstable();
    assert_eq!(found, [5, 50]);
}

/// A busy key holds up no other.
pub async fn keys_wait_each_for_itself<H: Harness>() {
    let world = World::<H>::start().await;
    let worker = world.worker().await;
    // Keys that a database might take for one, or not be able to hold.
    let long = "x".repeat(5000);
    let keys = ["", "a", "A", "a ", "\u{0}", "null", "ä", "'\"\\", &long];
    for (key, number) in keys.iter().zip(0..) {
        world.publish_keyed(key, number).await;
    }
    world.clock.advance(NEARLY);
    world.publish_keyed("a", 100).await;
    world.publish_keyed(&format!("{long}y"), 101).await;
    world.clock.advance(SECOND);
    let mut found = numbers(&world.claim(worker, 100).await);
    found.sort_unstable();
    assert_eq!(found, [0, 2, 3, 4, 5, 6, 7, 8]);
    world.clock.advance(QUIET);
    let mut found = numbers(&world.claim(worker, 100).await);
    found.sort_unstable();
    assert_eq!(found, [100, 101]);
}

/// A key that is never quiet does not starve.
pub async fn busy_key_is_handled_after_the_longest_wait<H: Harness>() {
    let world = World::<H>::start().await;
    let worker = world.worker().await;
    let started = world.events.now();
    let mut last = 0;
    let lease = loop {
        world.publish_keyed("a", last).await;
        world.clock.advance(QUIET / 2);
        let mut tasks = world.claim(worker, 10).await;
        if let Some(lease) = tasks.pop() {
            break lease;
        }
        last += 1;
    };
    assert_eq!(world.events.now().since(started), LONGEST);
    assert_eq!(number(&lease), last, "with the newest event");
    // What comes then waits anew.
    world.publish_keyed("a", 1000).await;
    world.clock.advance(NEARLY);
    assert!(world.claim(worker, 10).await.is_empty());
    world.clock.advance(SECOND);
    assert_eq!(number(&world.claim_one(worker).await), 1000);
}

/// A task that runs is not touched.
pub async fn newer_event_waits_while_the_task_runs<H: Harness>() {
    let world = World::<H>::start().await;
    let worker = world.worker().await;
    world.publish_keyed("a", 1).await;
    world.clock.advance(QUIET);
    let running = world.claim_one(worker).await;
    world.publish_keyed("a", 2).await;
    world.clock.advance(QUIET);
    let newer = world.claim_one(worker).await;
    assert_eq!(number(&newer), 2);
    assert!(world.settle(worker, &running, Next::Complete).await);
    assert!(world.settle(worker, &newer, Next::Complete).await);
}

/// It never was.
pub async fn rolled_back_event_leaves_the_waiting_task_alone<H: Harness>() {
    let world = World::<H>::start().await;
    let worker = world.worker().await;
    world.publish_keyed("a", 1).await;
    world.clock.advance(SECOND);
    let mut session = world.harness.begin().await;
    put(&mut session, Keyed { key: "a".into(), number: 2 });
    world.harness.rollback(session).await;
    world.clock.advance(NEARLY);
    assert_eq!(number(&world.claim_one(worker).await), 1);
}

/// Nobody's commit fails, nothing is lost.
pub async fn concurrent_publishers_of_one_key_leave_one_task_with_the_newest_event<H: Harness>() {
    const EACH: u32 = 125;
    let world = World::<H>::start().await;
    let worker = world.worker().await;
    join_all((0..8).map(|publisher| {
        let world = &world;
        async move {
            for event in 0..EACH {
                world.publish_keyed("a", publisher * EACH + event).await;
            }
        }
    }))
    .await;
    let last = world.publish_keyed("a", 5000).await;
    assert_eq!(world.broker().counts().await.expect("counts").scheduled, 1);
    world.clock.advance(QUIET);
    assert_eq!(world.claim_one(worker).await.task.event_id, last);
}

/// Commits of the same keys in different orders do not wait for each other in a circle.
pub async fn concurrent_commits_of_many_keys_disturb_nobody<H: Harness>() {
    const KEYS: u32 = 20;
    let world = World::<H>::start().await;
    let worker = world.worker().await;
    join_all((0..8_u32).map(|publisher| {
        let world = &world;
        async move {
            for round in 0..20 {
                let mut session = world.harness.begin().await;
                for key in 0..KEYS {
                    let key = if publisher % 2 == 0 { key } else { KEYS - 1 - key };
                    put(&mut session, Keyed { key: key.to_string(), number: round });
                }
                world.harness.commit(session).await.expect("commits");
            }
        }
    }))
    .await;
    world.clock.advance(QUIET);
    let tasks = world.claim(worker, 100).await;
    assert_eq!(numbers(&tasks), [19; KEYS as usize]);
}

/// Otherwise a handler that fails for long would leave a task for every window.
pub async fn task_that_is_tried_again_gives_way_to_a_newer_one<H: Harness>() {
    let world = World::<H>::start().await;
    let worker = world.worker().await;
    world.publish_keyed("a", 1).await;
    world.publish_keyed("b", 2).await;
    world.clock.advance(QUIET);
    for lease in world.claim(worker, 10).await {
        assert!(world.settle(worker, &lease, retry(QUIET * 3, "away")).await);
    }
    world.publish_keyed("a", 3).await;
    world.clock.advance(QUIET);
    assert_eq!(number(&world.claim_one(worker).await), 3);
    world.clock.advance(QUIET * 3);
    let lease = world.claim_one(worker).await;
    assert_eq!((number(&lease), lease.attempt), (2, 2), "that of the other key is still there");
}

/// Until it is due, the newer one may be put off.
pub async fn task_that_is_tried_again_is_kept_while_no_newer_one_is_due<H: Harness>() {
    let world = World::<H>::start().await;
    let worker = world.worker().await;
    world.publish_keyed("a", 1).await;
    world.clock.advance(QUIET);
    let lease = world.claim_one(worker).await;
    world.publish_keyed("a", 2).await;
    assert!(world.settle(worker, &lease, retry(SECOND, "away")).await);
    world.clock.advance(SECOND);
    let lease = world.claim_one(worker).await;
    assert_eq!((number(&lease), lease.attempt), (1, 2));
}

/// Operators see them.
pub async fn waiting_tasks_are_counted_and_their_queue_is_watched<H: Harness>() {
    let world = World::<H>::start().await;
    world.publish_keyed("a", 1).await;
    let counts = world.broker().counts().await.expect("counts");
    assert_eq!((counts.available, counts.scheduled), (0, 1));
    assert!(!counts.is_drained());
    world.clock.advance(QUIET + SECOND);
    let counts = world.broker().counts().await.expect("counts");
    assert_eq!((counts.available, counts.scheduled), (1, 0));
    let health = world.broker().health().await.expect("tells");
    assert_eq!(health.queues.len(), 1);
    assert_eq!(health.queues[0].queue, "events");
    assert_eq!(health.queues[0].oldest_waiting, SECOND);
}

/// However many there are, no claim comes back empty before all were handed out.
pub async fn claims_bring_all_of_many_keys_that_are_due_at_once<H: Harness>() {
    const KEYS: u32 = 5_000;
    let world = World::<H>::start().await;
    let worker = world.worker().await;
    let mut session = world.harness.begin().await;
    for number in 0..KEYS {
        put(&mut session, Keyed { key: number.to_string(), number });
        // SQLite moves those of one moment together.
        world.clock.advance(Duration::from_micros(1));
    }
    world.harness.commit(session).await.expect("commits");
    world.clock.advance(QUIET);
    let mut found = Vec::new();
    while found.len() < KEYS as usize {
        let tasks = world.claim(worker, 700).await;
        assert!(!tasks.is_empty(), "after {}", found.len());
        found.extend(numbers(&tasks));
    }
    found.sort_unstable();
    assert_eq!(found, (0..KEYS).collect::<Vec<_>>());
}
