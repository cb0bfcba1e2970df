//! Subscribers whose handlers are in other programs.

use std::collections::BTreeSet;
use std::time::Duration;

use events_core::Registry;
use events_core::broker::{Admin, Broker, WorkerInfo};
use events_core::catalog::Catalog;
use events_core::context::CancellationSource;
use events_core::event::WorkerId;
use events_core::extract::States;
use events_core::lifecycle::Next;
use events_core::prelude::*;
use events_runtime::{Executor, MemoryQueue, Worker};
use events_testing::{ManualClock, TestSession, coverage, drain};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::logs::Logs;
use crate::world::{events_in, sqlite};

/// A shop: one handler here, two tasks in a program in Python.
mod shop {
    use super::*;

    #[derive(Event)]
    pub struct OrderPlaced {
        pub number: u32,
    }

    #[publishes(OrderPlaced)]
    pub fn place(session: &mut impl Session, number: u32) -> Result<EventId, PublishError> {
        publish_after_commit(session, OrderPlaced { number })
    }

    #[subscribes_to(OrderPlaced, queue = "billing", freshness_only)]
    async fn bill(event: OrderPlaced, State(billed): State<UnboundedSender<u32>>) {
        billed.send(event.number).ok();
    }

    foreign_subscriber! {
        event = OrderPlaced,
        task = "shop.tasks.send_confirmation",
        queue = "mail",
        priority = -3,
        delay = "10s",
        freshness_only,
    }

    foreign_subscriber! {
        event = OrderPlaced,
        task = "Shop: count it!",
        queue = "numbers",
        reconciled_by = recount,
    }

    #[reconciles]
    async fn recount(_scope: Scope) -> Result<Report, Failure> {
        Ok(Report::default())
    }

    pub fn events() -> Events {
        events_in(module_path!())
    }

    pub fn registry() -> Registry {
        Registry::builder().linked_in(module_path!()).build().unwrap()
    }
}

/// Nobody listens here but another program, on a queue that has a handler, too.
mod shared {
    use super::*;

    #[derive(Event)]
    pub struct OrderPaid {
        pub number: u32,
    }

    #[derive(Event)]
    pub struct OrderShipped {}

    #[publishes(OrderPaid, OrderShipped)]
    pub fn pay(session: &mut impl Session, number: u32) -> Result<EventId, PublishError> {
        let _ = OrderShipped {};
        publish_after_commit(session, OrderPaid { number })
    }

    #[subscribes_to(OrderShipped, queue = "shared", freshness_only)]
    fn on_shipped(_: OrderShipped) {}

    foreign_subscriber! { event = OrderPaid, task = "thank", queue = "shared", freshness_only }

    pub fn events() -> Events {
        events_in(module_path!())
    }
}

#[tokio::test]
async fn every_foreign_subscriber_gets_one_task_of_its_name_on_its_queue() {
    let (queue, _folder) = sqlite(&shop::events()).await;
    let mut session = queue.begin().await.unwrap();
    shop::place(&mut session, 7).unwrap();
    session.commit().await.unwrap();
    let tasks: Vec<(String, String, i64, i64)> = sqlx::query_as(
        "SELECT name, queue, priority, due_at - published_at FROM events_tasks ORDER BY name",
    )
    .fetch_all(queue.pool())
    .await
    .unwrap();
    let [count, bill, confirm] = tasks.as_slice() else { panic!("three tasks: {tasks:?}") };
    assert_eq!((bill.0.rsplit('.').next(), &*bill.1), (Some("bill"), "billing"));
    assert_eq!((&*count.0, &*count.1, count.2), ("Shop: count it!", "numbers", 0));
    assert_eq!((&*confirm.0, &*confirm.1, confirm.2), ("shop.tasks.send_confirmation", "mail", -3));
    assert!(confirm.3 >= 10_000_000, "it is delayed: {confirm:?}");
}

#[tokio::test]
async fn worker_of_all_queues_leaves_those_of_other_programs_alone() {
    let (logs, _guard) = Logs::capture();
    let events = shop::events();
    let queue = MemoryQueue::new(&events);
    let mut session = queue.begin();
    shop::place(&mut session, 7).unwrap();
    session.commit().await.unwrap();
    let (billed, mut received) = unbounded_channel::<u32>();
    let worker = Worker::builder(&events, queue.clone()).state(billed).build().unwrap();
    worker
        .run_until(async {
            assert_eq!(received.recv().await, Some(7));
        })
        .await
        .unwrap();
    let counts = queue.counts().await.unwrap();
    assert_eq!((counts.available, counts.scheduled, counts.running), (1, 1, 0));
    assert!(!logs.to_string().contains("no subscriber of this program"), "{logs}");
}

#[tokio::test]
async fn foreign_task_on_a_queue_of_this_program_is_put_back() {
    let events = shared::events();
    let queue = MemoryQueue::new(&events);
    let mut session = queue.begin();
    shared::pay(&mut session, 7).unwrap();
    session.commit().await.unwrap();
    let executor = Executor::new(queue.clone(), States::new().into()).unwrap();
    let worker = WorkerId::generate();
    queue.register(worker, &WorkerInfo::new(Queues::all(), 1)).await.unwrap();
    let lease = queue.claim(worker, &Queues::all(), 1).await.unwrap().tasks.pop().unwrap();
    let never = CancellationSource::new().token();
    let execution = executor.execute(worker, lease, &never).await;
    assert_eq!(execution.next, Next::Release { after: events.settings().unknown_task_delay });
}

#[test]
fn worker_for_a_queue_that_only_another_program_serves_does_not_start() {
    let events = shop::events();
    let build = |queues| {
        let worker = Worker::builder(&events, MemoryQueue::new(&events));
        worker.state(unbounded_channel::<u32>().0).queues(queues).build()
    };
    let error = build(Queues::only(["billing", "mail"])).unwrap_err().to_string();
    for part in ["`mail` is that of another program", "`shop.tasks.send_confirmation` (tests/for"] {
        assert!(error.contains(part), "{error}");
    }
    let error = build(Queues::only(["post"])).unwrap_err().to_string();
    assert!(error.contains("no subscriber uses the queue `post`"), "{error}");
    build(Queues::only(["billing"])).unwrap();
    let events = shared::events();
    let shared = Worker::builder(&events, MemoryQueue::new(&events));
    shared.queues(Queues::only(["shared"])).build().unwrap();
}

#[tokio::test]
async fn drain_takes_what_is_for_other_programs_and_lists_it() {
    let clock = ManualClock::new();
    let events = Events::builder().registry(shop::registry()).clock(clock.clone()).build().unwrap();
    let queue = MemoryQueue::new(&events);
    let (billed, mut received) = unbounded_channel::<u32>();
    let mut states = States::new();
    states.insert(billed.clone());
    let mut session = TestSession::on(&queue).state(billed);
    shop::place(&mut session, 7).unwrap();

    let drained = session.commit().await.unwrap();
    drained.assert_all_completed();
    assert_eq!((drained.completed(), received.try_recv()), (1, Ok(7)));
    let [count] = drained.foreign.as_slice() else { panic!("one is due: {drained:?}") };
    assert_eq!((&*count.name, &*count.queue), ("Shop: count it!", "numbers"));
    assert_eq!(&*count.payload, r#"{"number":7}"#);

    clock.advance(Duration::from_secs(10));
    let drained = drain(&queue, &states).await.unwrap();
    let [confirm] = drained.foreign.as_slice() else { panic!("one is due: {drained:?}") };
    assert_eq!((&*confirm.name, confirm.priority), ("shop.tasks.send_confirmation", -3));
    assert_eq!(confirm.due_at, confirm.published_at + Duration::from_secs(10));
    assert!(queue.counts().await.unwrap().is_drained());
}

#[tokio::test]
async fn event_for_other_programs_only_completes() {
    let mut session = TestSession::new(&shared::events());
    shared::pay(&mut session, 7).unwrap();
    let drained = session.commit().await.unwrap();
    drained.assert_all_completed();
    assert_eq!((drained.runs.len(), drained.foreign.len()), (0, 1));
}

#[test]
fn look_up_for_running_knows_no_foreign_tasks() {
    let registry = shop::registry();
    assert!(registry.subscriber("Shop: count it!").is_none());
    let foreign = registry.foreign_subscriber("Shop: count it!").unwrap();
    assert_eq!(foreign.reconciled_by, Some("suite.foreign.shop.recount"));
    let [local] = registry.local_subscribers().collect::<Vec<_>>()[..] else { panic!("one") };
    assert!(registry.subscriber(local.task).is_some());
    assert!(registry.foreign_subscriber(local.task).is_none());
    assert_eq!(registry.foreign_subscribers().count(), 2);
    assert_eq!(registry.subscribers_of(local.event.name).len(), 3);
}

#[test]
fn catalog_shows_which_subscribers_are_foreign() {
    let catalog = Catalog::of(&shop::registry(), &EventSettings::default());
    let catalog = serde_json::to_value(&catalog).unwrap();
    let subscribers = catalog["events"][0]["subscribers"].as_array().unwrap();
    let of = |foreign: bool| subscribers.iter().filter(move |it| it["foreign"] == foreign);
    let tasks: BTreeSet<_> = of(true).map(|it| it["task"].as_str().unwrap()).collect();
    assert_eq!(tasks, BTreeSet::from(["Shop: count it!", "shop.tasks.send_confirmation"]));
    assert!(of(true).all(|it| it["max_retries"].is_null() && it["timeout_ms"].is_null()));
    assert!(of(false).all(|it| it["max_retries"] == 20 && it["timeout_ms"] == 300_000));
}

mod covered {
    use super::*;

    #[test]
    fn an_event_that_only_another_program_hears_is_heard() {
        let registry = Registry::builder().linked_in("suite::foreign::shared").build().unwrap();
        coverage(&registry).require_reconcilers().assert();
        coverage(&shop::registry()).require_reconcilers().assert();
    }
}

mod uncovered {
    use super::*;

    #[derive(Event)]
    struct Unpublished {}

    foreign_subscriber! { event = Unpublished, task = "shop.tasks.forgotten", queue = "mail" }

    #[test]
    fn event_of_a_foreign_subscriber_needs_a_publisher_and_a_word_about_lost_events() {
        let registry = Registry::builder().linked_in(module_path!()).build().unwrap();
        let error = coverage(&registry).require_reconcilers().check().unwrap_err();
        let place = "the foreign task `shop.tasks.forgotten` (tests/foreign.rs:";
        let [publisher, reconciler] = error.failures() else { panic!("two findings: {error}") };
        assert!(publisher.starts_with(place) && publisher.contains("nobody publishes"), "{error}");
        assert!(reconciler.starts_with(place) && reconciler.contains("lost events"), "{error}");
        let error = coverage(&registry).check().unwrap_err();
        assert_eq!(error.failures().len(), 1, "a warning by default: {error}");
    }
}

mod names {
    use super::*;

    #[derive(Event)]
    struct Happened {}

    mod twice {
        use super::*;
        foreign_subscriber! { event = Happened, task = "twice", queue = "mail", freshness_only }
        foreign_subscriber! { event = Happened, task = "twice", queue = "post", freshness_only }
    }

    mod here_and_there {
        use super::*;
        foreign_subscriber! { event = Happened, task = "both", queue = "mail", freshness_only }
        #[subscribes_to(Happened, name = "both", freshness_only)]
        fn here(_: Happened) {}
    }

    mod alias {
        use super::*;
        foreign_subscriber! { event = Happened, task = "old.name", queue = "mail", freshness_only }
        #[subscribes_to(Happened, alias = "old.name", freshness_only)]
        fn renamed(_: Happened) {}
    }

    fn problem(module: &str) -> String {
        let module = format!("{}::{module}", module_path!());
        let error = Registry::builder().linked_in(&module).build().unwrap_err();
        let [problem] = error.problems() else { panic!("one problem: {error}") };
        problem.to_string()
    }

    #[test]
    fn two_subscribers_of_one_task_name_do_not_start_wherever_their_handlers_are() {
        let foreign = |task: &str| format!("the foreign task `{task}` (tests/foreign.rs:");
        for (module, parts) in [
            ("twice", ["share the task name `twice`", &*foreign("twice"), "`task = \"…\"`"]),
            ("here_and_there", ["`both`", &*foreign("both"), "here_and_there::here` (tests/"]),
            ("alias", ["alias `old.name` of", "alias::renamed`", &*foreign("old.name")]),
        ] {
            let problem = problem(module);
            for part in parts {
                assert!(problem.contains(part), "`{part}` is not in: {problem}");
            }
        }
    }
}

mod lost {
    use super::*;
    use events_core::BoxError;
    use events_testing::lost_events;
    use std::sync::{Arc, Mutex};

    type Stock = Arc<Mutex<(u32, u32)>>;

    #[derive(Event)]
    struct Sold {}

    #[publishes(Sold)]
    fn sell(session: &mut impl Session, stock: &Stock) -> Result<EventId, PublishError> {
        stock.lock().unwrap().0 += 1;
        publish_after_commit(session, Sold {})
    }

    #[subscribes_to(Sold, reconciled_by = recount)]
    fn count(_: Sold, State(stock): State<Stock>) {
        stock.lock().unwrap().1 += 1;
    }

    foreign_subscriber! { event = Sold, task = "shop.tasks.reorder", queue = "stock", freshness_only }

    #[reconciles]
    async fn recount(_scope: Scope, State(stock): State<Stock>) -> Result<Report, Failure> {
        let (sold, counted) = &mut *stock.lock().unwrap();
        let added = u64::from(*sold - *counted);
        *counted = *sold;
        Ok(Report { added, ..Report::default() })
    }

    async fn world(events: &Events) -> Result<(MemoryQueue, States), BoxError> {
        let mut states = States::new();
        states.insert(Stock::default());
        Ok((MemoryQueue::new(events), states))
    }

    async fn changes(queue: &MemoryQueue, states: &States) -> Result<(), BoxError> {
        let mut session = queue.begin();
        sell(&mut session, states.get::<Stock>().ok_or("the stock is gone")?)?;
        Ok(session.commit().await?)
    }

    async fn state(_queue: &MemoryQueue, states: &States) -> Result<u32, BoxError> {
        Ok(states.get::<Stock>().ok_or("the stock is gone")?.lock().unwrap().1)
    }

    #[tokio::test]
    async fn check_of_lost_events_passes_over_what_other_programs_do() {
        let events = events_in(module_path!());
        lost_events(&events).assert(world, changes, state).await;
    }
}
