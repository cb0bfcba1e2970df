//! Real processes, really killed and stopped, on one SQLite file.

pub(crate) mod processes;

use std::time::Duration;

use events_core::broker::Admin;

use processes::{Process, World, start_on};

/// One worker dies at a point of its first handler; a second takes over. How often each effect
/// of order 1 is there in the end.
async fn effects_after_a_crash_at(point: &str) -> (i64, i64) {
    let world = World::new().await;
    world.start(&["publish", "1"]).ends().await;
    let mut doomed = world.start_with(&["work"], &[("CRASH_AT", point)]);
    assert!(doomed.dies().await, "the worker aborts");
    let _second = world.start(&["work"]);
    world.drained().await;
    (world.count("booked", 1).await, world.count("confirmed", 1).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_killed_before_a_transactional_effect_loses_nothing() {
    assert_eq!(effects_after_a_crash_at("transaction, before the effect").await, (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_killed_after_a_transactional_effect_has_it_once() {
    assert_eq!(effects_after_a_crash_at("transaction, after the effect").await, (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_killed_before_a_plain_effect_loses_nothing() {
    assert_eq!(effects_after_a_crash_at("plain, before the effect").await, (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_killed_between_a_plain_effect_and_its_outcome_runs_it_again() {
    assert_eq!(effects_after_a_crash_at("plain, after the effect").await, (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn publisher_killed_at_any_moment_has_a_task_for_every_commit() {
    let world = World::new().await;
    let mut seed = 7_u64;
    // Killed again and again, each goes on where the last committed.
    loop {
        let mut publisher = world.start(&["publish", "400"]);
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(20 + (seed >> 33) % 60)) => {
                publisher.kill().await;
            }
            ended = publisher.ends() => {
                assert!(ended, "the last one gets through");
                break;
            }
        }
    }
    let _worker = world.start(&["work"]);
    world.drained().await;
    world.assert_every_order_has_its_effects(400).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_and_publishers_killed_and_stopped_at_random_lose_nothing_and_book_once() {
    const ORDERS: i64 = 1_500;
    let world = World::new().await;
    let until = ORDERS.to_string();
    let mut publisher = world.start(&["publish", &until]);
    let mut workers: Vec<Process> = (0..3).map(|_| world.start(&["work"])).collect();
    let mut seed = 42_u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(50 + random(100))).await;
        let victim = usize::try_from(random(4)).unwrap();
        match (workers.get_mut(victim), random(4)) {
            (None, _) => {
                publisher.kill().await;
                publisher = world.start(&["publish", &until]);
            }
            (Some(worker), 0) => {
                worker.signal("STOP");
                tokio::time::sleep(Duration::from_millis(random(150))).await;
                worker.signal("CONT");
            }
            (Some(worker), _) => {
                worker.kill().await;
                *worker = world.start(&["work"]);
            }
        }
    }
    assert!(publisher.ends().await, "the last publisher gets through");
    world.drained().await;
    world.assert_every_order_has_its_effects(ORDERS).await;
    assert_eq!(world.queue.counts().await.unwrap().dead, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn stalled_worker_loses_its_task_and_goes_on_when_it_wakes() {
    let world = World::new().await;
    world.start(&["slow"]).ends().await;
    let stalled = world.start(&["work"]);
    world.awaits("slow began", stalled.pid(), 1).await;
    stalled.signal("STOP"); // for longer than its lease
    let mut other = world.start(&["work"]);
    world.awaits("slow ended", other.pid(), 1).await;
    world.drained().await;
    stalled.signal("CONT");
    other.kill().await;
    // Back from the dead it cannot touch the finished task, and it works on under a new identity.
    world.start(&["publish", "1"]).ends().await;
    world.drained().await;
    world.assert_every_order_has_its_effects(1).await;
    assert_eq!(world.queue.counts().await.unwrap().dead, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn handler_that_aborts_its_process_ends_as_a_dead_letter() {
    let world = World::new().await;
    world.start(&["poison"]).ends().await;
    world.start(&["publish", "20"]).ends().await;
    for attempt in 1..=3 {
        assert!(world.start(&["work"]).dies().await, "attempt {attempt} takes the worker down");
    }
    let _survivor = world.start(&["work"]);
    world.drained().await;
    world.assert_every_order_has_its_effects(20).await;
    let dead = world.queue.dead_letters(10, None).await.unwrap();
    assert_eq!(dead.len(), 1, "only the poison");
    assert!(dead[0].name.contains("swallow"));
    let errors: Vec<_> = dead[0].attempts.iter().map(|attempt| &*attempt.error).collect();
    assert_eq!(errors.len(), 4);
    assert!(errors[..3].iter().all(|error| error.contains("died or stalled")), "{errors:?}");
    assert!(errors[3].contains("abort the process"), "{errors:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_start_at_once_on_a_new_file_all_come_up() {
    let world = World::new().await;
    let fresh = world.folder.path().join("fresh.db");
    let mut processes: Vec<_> = (0..6).map(|_| start_on(&fresh, &["work"], &[])).collect();
    for process in &mut processes {
        process.ready().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_stops_gracefully_when_it_is_asked_to() {
    let world = World::new().await;
    world.start(&["publish", "50"]).ends().await;
    let mut worker = world.start(&["work"]);
    worker.ready().await;
    assert!(worker.close_input_and_end().await, "it exits with success");
    let counts = world.queue.counts().await.unwrap();
    assert_eq!(counts.running, 0, "it has put back what it had not started");
    let _second = world.start(&["work"]);
    world.drained().await;
    world.assert_every_order_has_its_effects(50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_that_is_sent_sigterm_finishes_the_task_that_runs() {
    let world = World::new().await;
    world.start(&["slow"]).ends().await;
    let mut worker = world.start(&["serve"]);
    let process = worker.pid();
    world.awaits("slow began", process, 1).await;
    worker.signal("TERM");
    assert!(worker.ends().await, "it exits with success");
    assert_eq!(world.count("slow ended", process.into()).await, 1);
    assert!(world.queue.counts().await.unwrap().is_drained(), "its outcome is recorded");
}
