//! Workers and publishers in Rust, without any in Python.

use std::time::Duration;

use events_core::Registry;
use events_core::broker::{Admin, Broker};
use events_core::clock::{Clock, SystemClock};
use events_core::prelude::*;
use events_runtime::Worker;

use super::shop::{self, Counter};
use super::world::{Running, World, dead_letters, drained, eventually};
use crate::world::{Seen, events_in, events_of, work_until_drained};

/// What places orders without handling them.
pub(super) mod counter {
    use super::*;

    #[derive(Event)]
    pub struct OrderPlaced {
        pub number: i64,
        pub note: Option<String>,
    }

    #[publishes(OrderPlaced)]
    pub fn place(session: &mut impl Session, number: i64, note: &str) -> EventId {
        let note = Some(note.to_owned());
        publish_after_commit(session, OrderPlaced { number, note }).unwrap()
    }

    foreign_subscriber! { event = OrderPlaced, task = "shop.take_order", queue = "shop", freshness_only }

    pub fn events() -> Events {
        events_in(module_path!())
    }

    pub async fn place_all(world: &World, numbers: std::ops::RangeInclusive<i64>, note: &str) {
        let broker = world.broker(&events()).await;
        let mut session = broker.begin();
        for number in numbers {
            place(&mut session, number, note);
        }
        session.commit().await.unwrap();
    }
}

/// Everything that can be said of when a task is due, and in which order.
mod timing {
    use super::*;

    #[derive(Event)]
    pub struct Ranked {}

    #[derive(Event)]
    pub struct Delayed {}

    #[derive(Event)]
    pub struct Typed {
        pub reader: String,
        pub text: String,
    }

    #[publishes(Ranked, Delayed, Typed)]
    pub fn publish(session: &mut impl Session) {
        for text in ["one", "two", "three"] {
            publish_after_commit(session, Typed { reader: "ada".into(), text: text.into() })
                .unwrap();
        }
        publish_after_commit(session, Ranked {}).unwrap();
        publish_after_commit(session, Delayed {}).unwrap();
    }

    type Told = State<Seen<String>>;

    #[subscribes_to(Ranked, priority = 300, freshness_only)]
    fn a_very_late(_: Ranked, told: Told) {
        told.push("300".into());
    }

    #[subscribes_to(Ranked, priority = 6, freshness_only)]
    fn b_late(_: Ranked, told: Told) {
        told.push("6".into());
    }

    #[subscribes_to(Ranked, priority = 3, freshness_only)]
    fn c_soon(_: Ranked, told: Told) {
        told.push("3".into());
    }

    #[subscribes_to(Ranked, freshness_only)]
    fn d_first(_: Ranked, told: Told) {
        told.push("0".into());
    }

    #[subscribes_to(Ranked, priority = -200, freshness_only)]
    fn e_before_all(_: Ranked, told: Told) {
        told.push("-200".into());
    }

    #[subscribes_to(Delayed, delay = "300ms", freshness_only)]
    fn delayed(_: Delayed, told: Told, task: TaskContext) {
        let now = SystemClock.now();
        let early = now.since(task.published_at()) < Duration::from_millis(300);
        told.push(if early { "too early" } else { "delayed" }.into());
    }

    #[subscribes_to(Typed, debounce = "200ms", debounce_by = reader, freshness_only)]
    fn typed(event: Typed, told: Told) {
        told.push(event.text);
    }

    pub fn events() -> Events {
        events_in(module_path!())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn priority_delay_and_debounce_are_kept() {
    let world = World::new();
    let broker = world.broker(&timing::events()).await;
    let mut session = broker.begin();
    timing::publish(&mut session);
    session.commit().await.unwrap();
    let told = Seen::<String>::default();
    let worker = Worker::builder(broker.events(), broker.clone()).state(told.clone());
    work_until_drained(worker.concurrency(1).build().unwrap()).await;
    let mut told = told.all();
    assert_eq!(told[..5], ["-200", "0", "3", "6", "300"]);
    told[5..].sort();
    assert_eq!(told[5..], ["delayed", "three"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_attempts_are_tried_again_as_the_same_event() {
    let world = World::new();
    // However busy the machine is, nobody takes the worker for dead.
    let _worker = world.program("work", "--lease 30000");
    world.publish("--to 20 --batch 20 --fails 2").await;
    for number in 1..=20 {
        world.awaits("done", |execution| execution.ended && execution.number == number).await;
    }
    let executions = world.executions();
    for number in 1..=20 {
        let of: Vec<_> = executions.iter().filter(|execution| execution.number == number).collect();
        let attempts: Vec<_> = of.iter().map(|execution| execution.attempt).collect();
        assert_eq!(attempts, [1, 2, 3, 3], "the last one ended");
        assert!(of.iter().all(|execution| execution.event_id == of[0].event_id));
    }
}

/// A release that does not know the shop's tasks yet, on the same queue.
mod older_release {
    use super::*;

    #[derive(Event)]
    pub struct ShopOpened {}

    #[subscribes_to(ShopOpened, queue = "shop", freshness_only)]
    fn light(_: ShopOpened) {}

    pub fn events() -> Events {
        let settings = EventSettings {
            unknown_task_delay: Duration::from_millis(50),
            ..EventSettings::default()
        };
        events_of(Registry::builder().linked_in(module_path!()), settings)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_task_waits_for_a_release_that_knows_it() {
    let world = World::new();
    counter::place_all(&world, 1..=3, "").await;
    let older = world.broker(&older_release::events()).await;
    let worker = Worker::builder(older.events(), older.clone()).build().unwrap();
    let older_worker = Running::start(worker);
    eventually("put back", async || older.counts().await.unwrap().scheduled > 0).await;
    let broker = shop::broker(&world).await;
    let taken = Counter::open();
    let worker = Running::start(shop::worker(&broker, &taken).build().unwrap());
    drained(&broker).await;
    let mut numbers = taken.numbers();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3]);
    assert!(taken.all().iter().all(|taken| taken.task.attempt() == 1), "it cost no attempt");
    worker.stop().await;
    older_worker.stop().await;
}

/// Refuses until it is told to accept.
mod picky {
    use super::*;

    #[derive(Event)]
    pub struct Offered {
        pub number: i64,
    }

    #[publishes(Offered)]
    pub fn offer(session: &mut impl Session, number: i64) {
        publish_after_commit(session, Offered { number }).unwrap();
    }

    #[subscribes_to(Offered, freshness_only)]
    fn accept(event: Offered, accepted: State<Seen<i64>>) -> Result<(), Failure> {
        if accepted.all().is_empty() {
            return Err(Failure::discard("nothing is accepted yet"));
        }
        accepted.push(event.number);
        Ok(())
    }

    pub fn events() -> Events {
        events_in(module_path!())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letter_is_listed_retried_and_discarded() {
    let world = World::new();
    let broker = world.broker(&picky::events()).await;
    let accepted = Seen::<i64>::default();
    let builder = || Worker::builder(broker.events(), broker.clone()).state(accepted.clone());
    let worker = Running::start(builder().build().unwrap());
    let mut session = broker.begin();
    picky::offer(&mut session, 1);
    picky::offer(&mut session, 2);
    session.commit().await.unwrap();
    let letters = dead_letters(&broker, 2).await;
    assert!(letters.iter().all(|letter| letter.attempts[0].error.contains("nothing is accepted")));
    assert!(broker.discard_dead_letter(letters[0].id).await.unwrap());
    accepted.push(0);
    assert!(broker.retry_dead_letter(letters[1].id).await.unwrap());
    assert!(!broker.retry_dead_letter(letters[0].id).await.unwrap(), "it is gone");
    eventually("accepted", async || accepted.all().len() == 2).await;
    worker.stop().await;
    let payload = format!("{{\"number\":{}}}", accepted.all()[1]);
    assert_eq!(payload, *letters[1].payload);
    assert!(dead_letters(&broker, 0).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handler_that_aborts_its_process_ends_as_a_dead_letter() {
    let world = World::new();
    world.publish("--to 1 --poison").await;
    world.publish("--from 2 --to 11 --batch 10").await;
    for attempt in 1..=3 {
        let mut worker = world.program("work", "--lease 300");
        assert!(worker.dies().await, "attempt {attempt} takes the worker down");
    }
    let _survivor = world.program("work", "--lease 300");
    let events = Events::builder().registry(Registry::builder().build().unwrap()).build().unwrap();
    let broker = world.broker(&events).await;
    let letters = dead_letters(&broker, 1).await;
    assert_eq!(&*letters[0].name, "program.swallow");
    let errors: Vec<_> = letters[0].attempts.iter().map(|attempt| &*attempt.error).collect();
    assert_eq!(errors.len(), 4, "{errors:?}");
    assert!(errors[3].contains("abort the process"), "{errors:?}");
    for number in 2..=11 {
        world.awaits("done", |done| done.ended && done.number == number).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_worker_is_relieved_after_its_lease_whatever_the_visibility_timeout() {
    let world = World::new();
    let mut doomed = world.program("work", "--visibility 3600000");
    world.publish("--to 1 --takes 2000").await;
    let began = world.awaits("begun", |execution| !execution.ended).await;
    let other = world.program("work", "--visibility 3600000");
    doomed.kill().await;
    let again = world.awaits("ended", |execution| execution.ended).await;
    assert_eq!((again.process, again.attempt), (other.pid(), 2));
    assert_eq!(again.event_id, began.event_id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_worker_cannot_complete_what_another_took_over() {
    let world = World::new();
    let stalled = world.program("work", "--lease 500");
    world.publish("--to 1 --takes 1000").await;
    world.awaits("begun", |execution| execution.process == stalled.pid()).await;
    stalled.signal("STOP");
    let mut other = world.program("work", "--lease 500");
    world.awaits("taken over", |execution| execution.process == other.pid()).await;
    other.kill().await;
    // When it wakes its handler is done. If it could complete the task, nobody would try it again.
    stalled.signal("CONT");
    let last = world.awaits("tried again", |execution| execution.attempt == 3).await;
    assert_eq!(last.process, stalled.pid(), "it goes on under a new identity");
    world.awaits("done", |execution| execution.ended && execution.attempt == 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_worker_gives_back_at_once_what_it_has_not_begun_in_its_old_order() {
    let world = World::new();
    counter::place_all(&world, 1..=20, "").await;
    let broker = shop::broker(&world).await;
    let taken = Counter::closed();
    let worker = shop::worker(&broker, &taken).concurrency(1).prefetch(5).build().unwrap();
    let worker = Running::start(worker);
    taken.awaits(1).await;
    eventually("prefetched", async || world.held().len() > 2).await;
    // The one that runs is let go when the others are back, or it would be followed by them.
    tokio::join!(worker.stop(), async {
        eventually("given back", async || world.held().len() == 1).await;
        taken.let_go();
    });
    assert!(world.held().is_empty());
    let waiting = world.redis(&["LRANGE", "{}shop", "0", "-1"]);
    assert_eq!(waiting.len(), 20 - taken.all().len());
    // As kombu gives back: at the end that is taken from next, with both flags.
    let next: serde_json::Value = serde_json::from_str(waiting.last().unwrap()).unwrap();
    assert_eq!(next["headers"]["redelivered"], true);
    let delivery_info = &next["properties"]["delivery_info"];
    assert_eq!(
        *delivery_info,
        serde_json::json!({"exchange": "", "routing_key": "shop", "redelivered": true})
    );

    work_until_drained(shop::worker(&broker, &taken).concurrency(1).build().unwrap()).await;
    assert_eq!(taken.numbers(), (1..=20).collect::<Vec<_>>());
    assert!(taken.all().iter().all(|taken| taken.task.attempt() == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_with_different_prefixes_do_not_see_each_other() {
    let (one, other) = (World::new(), World::new());
    counter::place_all(&one, 1..=5, "").await;
    counter::place_all(&other, 6..=6, "").await;
    let (broker, others) = (shop::broker(&one).await, shop::broker(&other).await);
    let taken = Counter::open();
    work_until_drained(shop::worker(&others, &taken).build().unwrap()).await;
    assert_eq!(taken.numbers(), [6]);
    assert_eq!(broker.counts().await.unwrap().available, 5);
}
