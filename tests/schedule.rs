//! Reconcilers that run by themselves, delays, and debounced subscribers, with workers.

mod cron;

use std::time::{Duration, Instant};

use events_core::broker::{Broker, BrokerError};
use events_core::cadence::{ReconcilerState, Schedule};
use events_core::extract::States;
use events_core::prelude::*;
use events_core::registry::Registry;
use events_core::settings::ReconcilerSettings;
use events_runtime::{MemoryQueue, Worker};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::world::{Seen, events_of, postgres, sqlite, work_until_drained};

const PATIENCE: Duration = Duration::from_secs(30);

async fn eventually(what: &str, mut happened: impl AsyncFnMut() -> bool) {
    let happening = async {
        while !happened().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, happening).await.unwrap_or_else(|_| panic!("never {what}"));
}

type Runs = Seen<Instant>;

#[reconciles(every = "60ms", run_on_start)]
async fn often(_scope: Scope, State(runs): State<Runs>) -> Result<Report, Failure> {
    runs.push(Instant::now());
    Ok(Report { checked: 3, added: 1, removed: 1, failed: vec![("x".into(), "odd".into())] })
}

#[reconciles(every = "1h", run_on_start)]
async fn fails(_scope: Scope, State(runs): State<Runs>) -> Result<Report, Failure> {
    runs.push(Instant::now());
    if runs.all().len() == 1 {
        Err(Failure::retry(BrokerError::new("read the catalogue", "it is away")))
    } else {
        Ok(Report::default())
    }
}

#[reconciles(every = "1h", run_on_start)]
async fn panics(_scope: Scope) -> Result<Report, Failure> {
    panic!("an index was out of bounds")
}

#[reconciles(every = "1h", run_on_start, deadline = "20ms")]
async fn never_ends(_scope: Scope) -> Result<Report, Failure> {
    std::future::pending().await
}

#[reconciles(every = "1h")]
async fn later(_scope: Scope, State(runs): State<Runs>) -> Result<Report, Failure> {
    runs.push(Instant::now());
    Ok(Report::default())
}

#[reconciles]
async fn on_demand(_scope: Scope, State(runs): State<Runs>) -> Result<Report, Failure> {
    runs.push(Instant::now());
    Ok(Report::default())
}

#[reconciles(every = "1h", run_on_start)]
async fn listens(
    _scope: Scope,
    context: ReconcilerContext,
    State(told): State<Seen<&'static str>>,
) -> Result<Report, Failure> {
    told.push("started");
    context.cancellation().cancelled().await;
    told.push("stopped");
    Ok(Report { checked: 7, ..Report::default() })
}

struct Running {
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

impl Running {
    async fn stop(self) {
        self.stop.send(()).ok();
        self.ended.await.unwrap();
    }
}

fn work<B: Broker>(queue: &B, runs: &Runs, told: &Seen<&'static str>) -> Running {
    let worker = Worker::builder(queue.events(), queue.clone())
        .state(runs.clone())
        .state(told.clone())
        .build()
        .unwrap();
    let (stop, stopped) = oneshot::channel();
    let ended = tokio::spawn(async move { worker.run_until(stopped).await.unwrap() });
    Running { stop, ended }
}

async fn state_of<B: Broker>(queue: &B) -> Option<ReconcilerState> {
    queue.reconcilers().await.unwrap().pop()
}

/// Several workers, one run in each interval: no two begin closer together than the interval.
async fn runs_once_for_all<B: Broker>(queue: B, another: B) {
    let (runs, told) = (Runs::default(), Seen::default());
    let workers = [&queue, &another, &queue, &another].map(|queue| work(queue, &runs, &told));
    eventually("twelve runs", async || runs.all().len() >= 12).await;
    for worker in workers {
        worker.stop().await;
    }
    let runs = runs.all();
    for pair in runs.windows(2) {
        let apart = pair[1] - pair[0];
        assert!(apart > Duration::from_millis(30), "two runs were {apart:?} apart");
    }
    let state = state_of(&queue).await.unwrap();
    assert_eq!(state.name, concat!(module_path!(), "::often").replace("::", "."));
    assert!(!state.is_running() && state.started_by.is_some());
    let result = state.result.unwrap();
    assert_eq!((result.checked, result.changed, result.failed, result.error), (3, 2, 1, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reconciler_runs_once_in_each_interval_however_many_workers_on_sqlite() {
    let events = events_of(Registry::builder().reconciler::<often>(), EventSettings::default());
    let (queue, folder) = sqlite(&events).await;
    let path = folder.path().join("test.db");
    let another = events_sqlx::SqliteQueue::open(path, &events).await.unwrap();
    runs_once_for_all(queue, another).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reconciler_runs_once_in_each_interval_however_many_workers_on_postgresql() {
    let events = events_of(Registry::builder().reconciler::<often>(), EventSettings::default());
    let (queue, database) = postgres(&events).await;
    let another = events_sqlx::PostgresQueue::connect(&database.url(), &events).await.unwrap();
    runs_once_for_all(queue, another).await;
}

fn memory(registry: events_core::registry::RegistryBuilder) -> (Events, MemoryQueue) {
    let events = events_of(registry, EventSettings::default());
    let queue = MemoryQueue::new(&events);
    (events, queue)
}

/// The next run or one on demand recovers; on demand it is never too early.
#[tokio::test]
async fn failed_run_uses_up_its_interval_and_one_on_demand_recovers() {
    let (events, queue) = memory(Registry::builder().reconciler::<fails>());
    let (runs, told) = (Runs::default(), Seen::default());
    for _ in 0..2 {
        let worker = work(&queue, &runs, &told);
        eventually("it ran", async || {
            state_of(&queue).await.is_some_and(|state| state.result.is_some())
        })
        .await;
        worker.stop().await;
    }
    assert_eq!(runs.all().len(), 1, "the second worker came within the minute");
    let state = state_of(&queue).await.unwrap();
    let error = state.result.unwrap().error.unwrap();
    assert_eq!(error, "the queue could not read the catalogue: it is away", "causes are told too");
    let mut states = States::new();
    states.insert(runs.clone());
    events.reconcile("fails", Scope::All, &states).await.unwrap();
    assert_eq!(runs.all().len(), 2);
}

async fn error_of_the_first_run(registry: events_core::registry::RegistryBuilder) -> String {
    let (_events, queue) = memory(registry);
    let worker = work(&queue, &Runs::default(), &Seen::default());
    eventually("it ended", async || {
        state_of(&queue).await.is_some_and(|state| state.result.is_some())
    })
    .await;
    worker.stop().await;
    state_of(&queue).await.unwrap().result.unwrap().error.unwrap()
}

#[tokio::test]
async fn panic_of_a_reconciler_is_a_failed_run() {
    let error = error_of_the_first_run(Registry::builder().reconciler::<panics>()).await;
    assert_eq!(error, "it panicked");
}

#[tokio::test]
async fn run_is_stopped_at_its_deadline() {
    let error = error_of_the_first_run(Registry::builder().reconciler::<never_ends>()).await;
    assert!(error.contains("longer than 20ms"), "{error}");
}

#[tokio::test]
async fn reconciler_waits_for_its_first_interval_unless_it_runs_on_start() {
    let (events, queue) = memory(Registry::builder().reconciler::<later>());
    let (runs, told) = (Runs::default(), Seen::default());
    let before = events.now();
    let worker = work(&queue, &runs, &told);
    eventually("it is known", async || state_of(&queue).await.is_some()).await;
    worker.stop().await;
    let state = state_of(&queue).await.unwrap();
    assert!(state.started_at.is_none() && runs.all().is_empty());
    assert!(state.next_at.since(before) >= Duration::from_hours(1));
}

#[tokio::test]
async fn worker_that_stops_tells_its_reconcilers_and_waits_for_them() {
    let (_events, queue) = memory(Registry::builder().reconciler::<listens>());
    let told = Seen::default();
    let worker = work(&queue, &Runs::default(), &told);
    eventually("it started", async || !told.all().is_empty()).await;
    worker.stop().await;
    assert_eq!(told.all(), ["started", "stopped"]);
    assert_eq!(state_of(&queue).await.unwrap().result.unwrap().checked, 7);
}

#[reconciles(every = "1h", run_on_start)]
async fn does_not_listen(
    _scope: Scope,
    State(told): State<Seen<&'static str>>,
) -> Result<Report, Failure> {
    told.push("started");
    std::future::pending().await
}

#[tokio::test]
async fn run_that_outlasts_the_grace_period_has_failed_and_holds_up_no_later_one() {
    let (events, queue) = memory(Registry::builder().reconciler::<does_not_listen>());
    let told = Seen::<&str>::default();
    let worker = Worker::builder(&events, queue.clone())
        .state(told.clone())
        .shutdown_grace(Duration::from_millis(20))
        .build()
        .unwrap();
    let started = eventually("started", async || !told.all().is_empty());
    worker.run_until(started).await.unwrap();
    let state = state_of(&queue).await.unwrap();
    assert!(!state.is_running(), "{state:?}");
    assert_eq!(state.result.unwrap().error.as_deref(), Some("stopped: its worker shut down"));
}

#[test]
fn worker_whose_reconcilers_lack_a_state_does_not_start() {
    let (events, queue) = memory(Registry::builder().reconciler::<later>());
    let refused = Worker::builder(&events, queue.clone()).build().unwrap_err().to_string();
    for part in ["later", "Seen", "which nobody gave", ".state(…)", ".reconcilers(false)"] {
        assert!(refused.contains(part), "{refused}");
    }
    Worker::builder(&events, queue).reconcilers(false).build().unwrap();
}

fn settings(name: &str, changed: ReconcilerSettings) -> EventSettings {
    let reconcilers = [(name.to_owned(), changed)].into();
    EventSettings { reconcilers, ..EventSettings::default() }
}

#[test]
fn settings_change_the_cadence_of_a_reconciler() {
    let registry = || {
        let registry = Registry::builder().reconciler::<never_ends>().reconciler::<on_demand>();
        registry.build().unwrap()
    };
    let cadence = |name: &str, changed| {
        let events = Events::builder().registry(registry()).settings(settings(name, changed));
        let events = events.build().unwrap();
        events.cadence(events.registry().reconciler(name).unwrap())
    };
    let minute = Duration::from_mins(1);
    let every = |every| ReconcilerSettings { every: Some(every), ..ReconcilerSettings::default() };
    let faster = cadence("never_ends", every(minute)).unwrap();
    assert_eq!(faster.schedule, Schedule::Every(minute));
    assert_eq!(faster.deadline, Some(Duration::from_millis(20)));
    let given = cadence("on_demand", every(minute)).unwrap();
    assert_eq!(given.schedule, Schedule::Every(minute));
    assert_eq!((given.longest_run(), given.run_on_start), (minute, false));
    let none = ReconcilerSettings { on_demand_only: true, ..ReconcilerSettings::default() };
    assert_eq!(cadence("never_ends", none), None);
    let unchanged = cadence("never_ends", ReconcilerSettings::default()).unwrap();
    assert_eq!(unchanged.schedule, Schedule::Every(Duration::from_hours(1)));
    for (name, changed, says) in [
        ("sweep", every(minute), "no reconciler has this name"),
        ("never_ends", every(Duration::from_millis(5)), "at least 1s"),
        (
            "never_ends",
            ReconcilerSettings { on_demand_only: true, ..every(minute) },
            "a cadence is given, too; keep one of them",
        ),
    ] {
        let refused = Events::builder().registry(registry()).settings(settings(name, changed));
        let refused = refused.build().unwrap_err().to_string();
        assert!(refused.contains(says) && refused.contains(name), "{refused}");
    }
}

#[derive(Event)]
struct MonitorChanged {
    #[event(rename = "monitorKey")]
    monitor: String,
    revision: u32,
}

type Log = Seen<(&'static str, String, u32)>;

#[subscribes_to(MonitorChanged, freshness_only, debounce = "80ms", debounce_by = monitor)]
async fn recompute(event: MonitorChanged, State(log): State<Log>) {
    log.push(("recompute", event.monitor, event.revision));
}

#[subscribes_to(MonitorChanged, freshness_only, delay = "40ms")]
async fn remind(event: MonitorChanged, State(log): State<Log>) {
    log.push(("remind", event.monitor, event.revision));
}

#[publishes(MonitorChanged)]
fn change(session: &mut impl Session, monitor: &str, revision: u32) {
    publish_after_commit(session, MonitorChanged { monitor: monitor.into(), revision }).unwrap();
}

/// One run for each key, with the newest event; the other subscriber sees every event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn burst_on_a_debounced_subscriber_is_one_run_for_each_key() {
    let registry = Registry::builder().subscriber::<recompute>().subscriber::<remind>();
    let events = events_of(registry, EventSettings::default());
    let (queue, _folder) = sqlite(&events).await;
    let log = Log::default();
    for revision in 0..10 {
        let mut session = queue.begin().await.unwrap();
        change(&mut session, "a", revision);
        change(&mut session, "b", 100 + revision);
        session.commit().await.unwrap();
    }
    let worker = Worker::builder(&events, queue.clone()).state(log.clone()).build().unwrap();
    work_until_drained(worker).await;
    let log = log.all();
    let of = |what| log.iter().filter(move |(who, ..)| *who == what);
    assert_eq!(of("remind").count(), 20);
    let mut recomputed: Vec<_> = of("recompute").map(|(_, key, last)| (&**key, *last)).collect();
    recomputed.sort_unstable();
    assert_eq!(recomputed, [("a", 9), ("b", 109)]);
}
