//! What a commit sends, and a rollback does not.

use events_core::broker::Admin;
use events_core::session::Session;

use super::Harness;
use super::fixture::{Double, Single, Unheard, World, numbers, put};

/// One task for each (event, subscriber).
pub async fn commit_makes_one_task_per_event_and_subscriber<H: Harness>() {
    let world = World::<H>::start().await;
    let worker = world.worker().await;
    let mut session = world.harness.begin().await;
    let single = put(&mut session, Single { number: 1 });
    let double = put(&mut session, Double { text: "two".into() });
    assert!(world.broker().counts().await.expect("counts").is_drained(), "not before the commit");
    world.harness.commit(session).await.expect("commits");
    let mut tasks: Vec<_> = world
        .claim(worker, 10)
        .await
        .into_iter()
        .map(|lease| (lease.task.name.to_string(), lease.task.event_id))
        .collect();
    tasks.sort();
    let name = str::to_owned;
    assert_eq!(
        tasks,
        [
            (name("contract.double.a"), double),
            (name("contract.double.b"), double),
            (name("contract.single"), single)
        ]
    );
}

/// Rolled back, the events never existed.
pub async fn rolled_back_session_publishes_nothing<H: Harness>() {
    let world = World::<H>::start().await;
    let mut session = world.harness.begin().await;
    put(&mut session, Single { number: 1 });
    world.harness.rollback(session).await;
    let worker = world.worker().await;
    assert!(world.claim(worker, 10).await.is_empty());
}

/// Dropping a session is a rollback.
pub async fn dropped_session_publishes_nothing<H: Harness>() {
    let world = World::<H>::start().await;
    let mut session = world.harness.begin().await;
    put(&mut session, Single { number: 1 });
    drop(session);
    world.publish(Single { number: 2 }).await;
    let worker = world.worker().await;
    assert_eq!(numbers(&world.claim(worker, 10).await), [2]);
}

/// Within a session, order is kept.
pub async fn tasks_come_in_the_order_of_publishing<H: Harness>() {
    let world = World::<H>::start().await;
    world.publish_numbers(0..50).await;
    let worker = world.worker().await;
    assert_eq!(numbers(&world.claim(worker, 100).await), (0..50).collect::<Vec<_>>());
}

/// What is pending on one session is not on another.
pub async fn sessions_do_not_see_each_other<H: Harness>() {
    let world = World::<H>::start().await;
    let mut first = world.harness.begin().await;
    put(&mut first, Single { number: 1 });
    world.harness.rollback(first).await;
    let mut second = world.harness.begin().await;
    assert!(second.pending_events().is_empty(), "a new session starts empty");
    put(&mut second, Single { number: 2 });
    world.harness.commit(second).await.expect("commits");
    let worker = world.worker().await;
    assert_eq!(numbers(&world.claim(worker, 10).await), [2]);
}

/// With dispatch off, committed events are dropped; switched on again, they are not.
pub async fn kill_switch_drops_what_is_committed<H: Harness>() {
    let world = World::<H>::start().await;
    world.events.set_enabled(false);
    world.publish(Single { number: 1 }).await;
    world.events.set_enabled(true);
    world.publish(Single { number: 2 }).await;
    let worker = world.worker().await;
    assert_eq!(numbers(&world.claim(worker, 10).await), [2]);
}

/// An event that nobody listens to is no error.
pub async fn event_without_subscriber_commits<H: Harness>() {
    let world = World::<H>::start().await;
    let mut session = world.harness.begin().await;
    put(&mut session, Unheard {});
    world.harness.commit(session).await.expect("commits");
    assert!(world.broker().counts().await.expect("counts").is_drained());
}

/// Nothing of a task is lost on its way.
pub async fn task_arrives_as_it_was_sent<H: Harness>() {
    let world = World::<H>::start().await;
    let text = "\u{0}\"\\ ünïcode \u{1F980} \u{2028}";
    let mut session = world.harness.begin().await;
    let id = put(&mut session, Double { text: text.into() });
    let sent = session.pending_events().as_slice()[0].clone();
    world.harness.commit(session).await.expect("commits");
    let worker = world.worker().await;
    let tasks = world.claim(worker, 10).await;
    assert_eq!(tasks.len(), 2);
    assert_ne!(tasks[0].task.id, tasks[1].task.id, "each task has an id of its own");
    for lease in tasks {
        assert_eq!(lease.attempt, 1);
        assert_eq!(lease.task.event_id, id);
        assert_eq!(lease.task.event, "contract.Double");
        assert_eq!(lease.task.payload, sent.payload);
        assert_eq!(lease.task.headers, sent.headers);
        assert_eq!(lease.task.published_at, sent.published_at);
        let event: Double = events_core::event::decode(&lease.task.payload).expect("decodes");
        assert_eq!(event.text, text);
    }
}
