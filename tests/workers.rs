//! Workers: shutdown, unknown tasks, lost leases, faults of the broker.

use std::sync::Arc;
use std::time::Duration;

use events_core::Registry;
use events_core::broker::{Admin, Broker, Heartbeat, WorkerInfo};
use events_core::extract::States;
use events_core::prelude::*;
use events_core::unchecked;
use events_runtime::{MemoryQueue, MemorySession, Worker};
use events_testing::ManualClock;
use events_testing::faults::{Fault, FaultyBroker};
use tokio::sync::{Notify, Semaphore, oneshot};

use crate::logs::Logs;
use crate::world::{Seen, events_of, work_until_drained};

/// What a handler waits for, and how a test learns that it has started.
#[derive(Clone)]
struct Gate {
    started: Arc<Semaphore>,
    open: Arc<Notify>,
    seen: Seen<u32>,
}

impl Gate {
    fn new() -> Self {
        Self { started: Arc::new(Semaphore::new(0)), open: Arc::default(), seen: Seen::default() }
    }

    async fn await_starts(&self, count: u32) {
        self.started.acquire_many(count).await.unwrap().forget();
    }
}

#[derive(Event)]
struct Queued {
    number: u32,
}

/// Longer than anything here takes, so that broken code makes a test fail and not hang.
const PATIENCE: Duration = Duration::from_secs(30);

fn block_until_cancelled(context: &TaskContext) {
    let started = std::time::Instant::now();
    while !context.cancellation().is_cancelled() {
        assert!(started.elapsed() < PATIENCE, "the handler was never told to stop");
        std::thread::sleep(Duration::from_millis(1));
    }
}

async fn eventually(what: &str, mut happened: impl AsyncFnMut() -> bool) {
    let happening = async {
        while !happened().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, happening).await.unwrap_or_else(|_| panic!("never {what}"));
}

#[subscribes_to(Queued, freshness_only)]
async fn waits(event: Queued, State(gate): State<Gate>) {
    let open = gate.open.notified();
    gate.started.add_permits(1);
    open.await;
    gate.seen.push(event.number);
}

#[subscribes_to(Queued, freshness_only)]
fn blocks_until_cancelled(event: Queued, context: TaskContext, State(gate): State<Gate>) {
    gate.started.add_permits(1);
    block_until_cancelled(&context);
    gate.seen.push(event.number);
}

#[subscribes_to(Queued, freshness_only)]
async fn sees(event: Queued, State(seen): State<Seen<u32>>) {
    seen.push(event.number);
}

fn events(registry: events_core::registry::RegistryBuilder) -> Events {
    let settings = EventSettings { lease: Duration::from_millis(300), ..EventSettings::default() };
    events_of(registry, settings)
}

async fn publish(queue: &MemoryQueue, numbers: std::ops::Range<u32>) {
    let mut session = queue.begin();
    for number in numbers {
        unchecked::publish_after_commit(&mut session, Queued { number }).unwrap();
    }
    session.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_finishes_what_runs_and_puts_back_what_does_not() {
    let events = events(Registry::builder().subscriber::<waits>());
    let queue = MemoryQueue::new(&events);
    let gate = Gate::new();
    publish(&queue, 0..10).await;
    let worker = Worker::builder(&events, queue.clone())
        .state(gate.clone())
        .concurrency(3)
        .prefetch(4)
        .build()
        .unwrap();
    let statistics = worker.statistics();
    let (shutdown, stop) = oneshot::channel::<()>();
    let running = tokio::spawn(worker.run_until(async { drop(stop.await) }));
    gate.await_starts(3).await;
    shutdown.send(()).unwrap();
    // The worker stops claiming and waits for the three; only then do they go on.
    while queue.counts().await.unwrap().available < 7 {
        tokio::task::yield_now().await;
    }
    gate.open.notify_waiters();
    running.await.unwrap().unwrap();
    assert_eq!(gate.seen.all().len(), 3);
    assert_eq!(statistics.completed(), 3);
    let counts = queue.counts().await.unwrap();
    assert_eq!((counts.available, counts.running), (7, 0), "put back at once, not after a lease");
}

#[subscribes_to(Queued, freshness_only, max_retries = 0, timeout = "20ms")]
fn overruns(event: Queued, context: TaskContext, State(gate): State<Gate>) {
    block_until_cancelled(&context);
    gate.seen.push(event.number);
    gate.started.add_permits(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn sync_handler_is_told_when_its_time_is_up() {
    let events = events(Registry::builder().subscriber::<overruns>());
    let queue = MemoryQueue::new(&events);
    let gate = Gate::new();
    publish(&queue, 0..1).await;
    let worker = Worker::builder(&events, queue.clone()).state(gate.clone()).build().unwrap();
    work_until_drained(worker).await;
    gate.await_starts(1).await;
    assert_eq!(gate.seen.all(), [0], "it saw its cancellation and returned");
    let dead = queue.dead_letters(1, None).await.unwrap();
    assert_eq!(dead[0].attempts[0].error, "timed out after 20ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_worker_tells_its_sync_handlers_to_stop() {
    let events = events(Registry::builder().subscriber::<blocks_until_cancelled>());
    let queue = MemoryQueue::new(&events);
    let gate = Gate::new();
    publish(&queue, 0..1).await;
    let worker = Worker::builder(&events, queue).state(gate.clone()).build().unwrap();
    let running = tokio::spawn(worker.run_until(std::future::pending::<()>()));
    gate.await_starts(1).await;
    running.abort();
    while gate.seen.all().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_without_heartbeat_for_a_lease_stops_its_handlers_and_goes_on_when_it_is_back() {
    let events = events(Registry::builder().subscriber::<waits>());
    let queue = FaultyBroker::new(MemoryQueue::new(&events));
    let gate = Gate::new();
    publish(queue.inner(), 0..1).await;
    let worker = Worker::builder(&events, queue.clone()).state(gate.clone()).build().unwrap();
    let statistics = worker.statistics();
    let running = tokio::spawn(worker.run_until(std::future::pending::<()>()));
    gate.await_starts(1).await;
    // Every heartbeat fails until one lease is over and the handler was dropped.
    while statistics.released() == 0 {
        queue.faults().inject(Fault::FailHeartbeat);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(gate.seen.all().is_empty(), "the handler was stopped, not finished");
    queue.faults().clear();
    // Nobody had taken over; the same worker runs the task again.
    gate.await_starts(1).await;
    gate.open.notify_waiters();
    while statistics.completed() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    running.abort();
    assert_eq!(gate.seen.all(), [0]);
    assert_eq!(statistics.stale(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_leased_ahead_go_back_when_handlers_become_slow() {
    #[subscribes_to(Queued, freshness_only)]
    async fn fast_then_slow(event: Queued, State(gate): State<Gate>) {
        if event.number >= 500 {
            gate.started.add_permits(1);
            gate.open.notified().await;
        }
    }
    let events = events(Registry::builder().subscriber::<fast_then_slow>());
    let queue = MemoryQueue::new(&events);
    let gate = Gate::new();
    publish(&queue, 0..1000).await;
    let worker =
        Worker::builder(&events, queue.clone()).state(gate.clone()).concurrency(2).build().unwrap();
    let running = tokio::spawn(worker.run_until(std::future::pending::<()>()));
    gate.await_starts(2).await;
    // Leased ahead while the handlers were fast, the others wait behind the two slow ones.
    while queue.counts().await.unwrap().running > 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(queue.counts().await.unwrap().available, 498, "for other workers");
    running.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn task_in_a_queue_its_subscriber_has_left_waits_for_a_worker_that_can_call_it() {
    #[subscribes_to(Queued, freshness_only, queue = "new", max_retries = 0)]
    async fn moved(event: Queued, State(seen): State<Seen<u32>>) {
        seen.push(event.number);
    }
    let events = events(Registry::builder().subscriber::<moved>().subscriber::<before_the_move>());
    let queue = MemoryQueue::new(&events);
    let mut task = {
        publish(&queue, 0..1).await;
        let worker = events_core::WorkerId::generate();
        queue.register(worker, &WorkerInfo::new(Queues::all(), 1)).await.unwrap();
        let mut tasks = queue.claim(worker, &Queues::only(["new"]), 1).await.unwrap().tasks;
        tasks.remove(0).task
    };
    task.queue = "events".into();
    let queue = MemoryQueue::new(&events);
    events_core::Transport::send(&queue, vec![task]).await.unwrap();
    // It serves the old queue only, and has not the state of a subscriber of the new one.
    let worker =
        Worker::builder(&events, queue.clone()).queues(Queues::only(["events"])).build().unwrap();
    let statistics = worker.statistics();
    let released = async move {
        while statistics.released() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    worker.run_until(released).await.unwrap();
    let counts = queue.counts().await.unwrap();
    assert_eq!((counts.scheduled, counts.dead), (1, 0), "neither lost nor dead");
}

#[subscribes_to(Queued, freshness_only)]
async fn before_the_move(_: Queued) {}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_that_outlast_the_grace_period_are_stopped_and_put_back() {
    let events =
        events(Registry::builder().subscriber::<waits>().subscriber::<blocks_until_cancelled>());
    let queue = MemoryQueue::new(&events);
    let gate = Gate::new();
    publish(&queue, 0..1).await;
    let worker = Worker::builder(&events, queue.clone())
        .state(gate.clone())
        .shutdown_grace(Duration::from_millis(20))
        .build()
        .unwrap();
    let started = gate.clone();
    worker.run_until(async move { started.await_starts(2).await }).await.unwrap();
    // The async handler was dropped; the blocking one saw its cancellation and finished.
    assert_eq!(gate.seen.all(), [0]);
    let counts = queue.counts().await.unwrap();
    assert_eq!((counts.available, counts.running), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_a_worker_stops_it_and_another_takes_over() {
    let events = events(Registry::builder().subscriber::<waits>());
    let queue = MemoryQueue::new(&events);
    let gate = Gate::new();
    publish(&queue, 0..3).await;
    let build = || Worker::builder(&events, queue.clone()).state(gate.clone()).build().unwrap();
    let first = tokio::spawn(build().run_until(std::future::pending::<()>()));
    gate.await_starts(3).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let counts = queue.counts().await.unwrap();
    assert_eq!(counts.running + counts.available, 3, "nothing is done, nothing is lost");
    assert_eq!(gate.seen.all(), [0; 0]);
    let second = tokio::spawn(build().run_until(std::future::pending::<()>()));
    gate.await_starts(3).await;
    gate.open.notify_waiters();
    eventually("drained", async || queue.counts().await.unwrap().is_drained()).await;
    second.abort();
    let mut seen = gate.seen.all();
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_task_is_put_back_for_a_release_that_knows_it() {
    let settings =
        EventSettings { unknown_task_delay: Duration::from_millis(20), ..EventSettings::default() };
    let newer = events_of(Registry::builder().subscriber::<sees>(), settings.clone());
    let queue = MemoryQueue::new(&newer);
    publish(&queue, 0..1).await;
    let task = {
        let worker = events_core::WorkerId::generate();
        queue.register(worker, &WorkerInfo::new(Queues::all(), 1)).await.unwrap();
        queue.claim(worker, &Queues::all(), 1).await.unwrap().tasks.remove(0).task
    };

    // The older release has the same queue but not this subscriber.
    let older = events_of(Registry::builder(), settings);
    let shared = MemoryQueue::new(&older);
    events_core::Transport::send(&shared, vec![task]).await.unwrap();
    let (logs, guard) = Logs::capture();
    for _ in 0..3 {
        let drained = events_testing::drain(&shared, &States::new()).await.unwrap();
        assert_eq!(drained.runs.len(), 1);
        assert_eq!(shared.counts().await.unwrap().scheduled, 1, "never dropped, never dead");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    drop(guard);
    assert!(
        logs.has("WARN", &["no subscriber of this program", "suite.workers.sees", "alias"]),
        "{logs}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn renamed_subscriber_still_handles_tasks_under_its_alias() {
    #[subscribes_to(Queued, freshness_only, name = "queued.new", alias = "queued.old")]
    async fn renamed(event: Queued, State(seen): State<Seen<u32>>) {
        seen.push(event.number);
    }
    #[subscribes_to(Queued, freshness_only, name = "queued.old")]
    async fn before(_: Queued) {}

    let old = events(Registry::builder().subscriber::<before>());
    let old_queue = MemoryQueue::new(&old);
    publish(&old_queue, 4..5).await;
    let worker = events_core::WorkerId::generate();
    old_queue.register(worker, &WorkerInfo::new(Queues::all(), 1)).await.unwrap();
    let task = old_queue.claim(worker, &Queues::all(), 1).await.unwrap().tasks.remove(0).task;
    assert_eq!(task.name, "queued.old");

    let new = events(Registry::builder().subscriber::<renamed>());
    let queue = MemoryQueue::new(&new);
    events_core::Transport::send(&queue, vec![task]).await.unwrap();
    let seen = Seen::<u32>::default();
    let worker = Worker::builder(&new, queue.clone()).state(seen.clone()).build().unwrap();
    work_until_drained(worker).await;
    assert_eq!(seen.all(), [4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeat_that_fails_at_the_start_is_an_error() {
    let events = events(Registry::builder());
    let queue = FaultyBroker::new(MemoryQueue::new(&events));
    queue.faults().inject(Fault::FailHeartbeat);
    let worker = Worker::builder(&events, queue).build().unwrap();
    let error = worker.run_until(std::future::pending::<()>()).await.unwrap_err();
    assert!(error.to_string().contains("could not register"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_outlives_faults_of_its_broker_and_loses_nothing() {
    let events = events(Registry::builder().subscriber::<sees>());
    let queue = FaultyBroker::new(MemoryQueue::new(&events));
    for fault in [Fault::FailClaim, Fault::FailSettle, Fault::FailSettle] {
        queue.faults().inject(fault);
    }
    let seen = Seen::<u32>::default();
    publish(queue.inner(), 0..50).await;
    let worker = Worker::builder(&events, queue.clone()).state(seen.clone()).build().unwrap();
    let (admin, faults) = (queue.clone(), queue.faults().clone());
    let started = async move {
        eventually("drained", async || admin.counts().await.unwrap().is_drained()).await;
        // Now that it is registered: one heartbeat fails, and the next comes through.
        faults.inject(Fault::FailHeartbeat);
        eventually("failed", async || faults.are_over()).await;
    };
    worker.run_until(started).await.unwrap();
    let mut all = seen.all();
    all.sort_unstable();
    assert_eq!(all, (0..50).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_that_crashes_before_it_settles_has_its_task_run_again() {
    let events = events(Registry::builder().subscriber::<sees>());
    let queue = FaultyBroker::new(MemoryQueue::new(&events));
    queue.faults().inject(Fault::CrashBeforeSettle);
    publish(queue.inner(), 0..1).await;
    let seen = Seen::<u32>::default();
    let build = || Worker::builder(&events, queue.clone()).state(seen.clone()).build().unwrap();
    let crashed = tokio::spawn(build().run_until(std::future::pending::<()>()));
    eventually("crashed", async || queue.faults().are_over()).await;
    work_until_drained(build()).await;
    crashed.abort();
    assert_eq!(seen.all(), [0, 0], "at least once");
}

#[subscribes_to(Queued, freshness_only)]
async fn in_transaction(
    event: Queued,
    _transaction: &mut MemorySession,
    State(seen): State<Seen<u32>>,
) {
    seen.push(event.number);
}

#[tokio::test(flavor = "multi_thread")]
async fn transaction_that_cannot_begin_puts_the_task_back() {
    for fault in [Fault::FailBegin, Fault::PanicInBegin] {
        let clock = ManualClock::new();
        let registry = Registry::builder().subscriber::<in_transaction>().build().unwrap();
        let events = Events::builder().registry(registry).clock(clock.clone()).build().unwrap();
        let queue = FaultyBroker::new(MemoryQueue::new(&events));
        queue.faults().inject(fault);
        publish(queue.inner(), 0..1).await;
        let seen = Seen::<u32>::default();
        let worker = Worker::builder(&events, queue.clone()).state(seen.clone()).build().unwrap();
        let statistics = worker.statistics();
        let admin = queue.clone();
        let done = async move {
            while statistics.released() == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(admin.counts().await.unwrap().scheduled, 1, "not at once");
            clock.advance(Duration::from_mins(1));
            while statistics.completed() == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        worker.run_until(done).await.unwrap();
        assert_eq!(seen.all(), [0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_taken_for_dead_stops_its_handlers_and_starts_anew() {
    let events = events(Registry::builder().subscriber::<waits>());
    let queue = MemoryQueue::new(&events);
    let gate = Gate::new();
    publish(&queue, 0..1).await;
    let worker = Worker::builder(&events, queue.clone()).state(gate.clone()).build().unwrap();
    let statistics = worker.statistics();
    let running = tokio::spawn(worker.run_until(std::future::pending::<()>()));
    gate.await_starts(1).await;
    // As if another worker had rescued after a stall.
    let survivor = events_core::WorkerId::generate();
    queue.register(survivor, &WorkerInfo::new(Queues::all(), 1)).await.unwrap();
    let mut rescued = Vec::new();
    while rescued.is_empty() {
        rescued = queue.rescue(survivor, Duration::ZERO).await.unwrap();
    }
    assert_eq!(queue.heartbeat(rescued[0].worker).await.unwrap(), Heartbeat::Lost);
    // The first handler is dropped, its outcome refused; the second attempt runs under a new id.
    gate.await_starts(1).await;
    while statistics.stale() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    gate.open.notify_waiters();
    while statistics.completed() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    running.abort();
    assert_eq!(gate.seen.all(), [0], "only the newer attempt finished");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_share_a_queue() {
    let events = events(Registry::builder().subscriber::<waits>());
    let queue = MemoryQueue::new(&events);
    let gate = Gate::new();
    let build = || {
        Worker::builder(&events, queue.clone()).state(gate.clone()).concurrency(2).build().unwrap()
    };
    let (first, second) = (build(), build());
    let (one, two) = (first.statistics(), second.statistics());
    publish(&queue, 0..4).await;
    let running = [
        tokio::spawn(first.run_until(std::future::pending::<()>())),
        tokio::spawn(second.run_until(std::future::pending::<()>())),
    ];
    // All four run at once, and no worker runs more than two. One that comes first may have leased
    // the others ahead, but gives them back when its own do not end.
    gate.await_starts(4).await;
    assert!(one.claimed() >= 2 && two.claimed() >= 2, "{one:?} {two:?}");
    for worker in running {
        worker.abort();
    }
}

#[test]
fn worker_refuses_a_queue_of_other_events() {
    let one = events(Registry::builder());
    let other = events(Registry::builder());
    let error = Worker::builder(&one, MemoryQueue::new(&other)).build().unwrap_err();
    assert!(error.to_string().contains("other `Events`"), "{error}");
    let error = Worker::builder(&one, MemoryQueue::new(&one)).concurrency(0).build().unwrap_err();
    assert!(error.to_string().contains("at least 1"), "{error}");
}
