//! Reconcilers at the times of a cron expression.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use events_core::broker::Broker;
use events_core::cadence::{Cadence, ReconcilerRuns, RunResult, RunStart, Schedule};
use events_core::catalog::Catalog;
use events_core::prelude::*;
use events_core::registry::Registry;
use events_core::settings::ReconcilerSettings;
use events_core::{Timestamp, WorkerId};
use events_runtime::{MemoryQueue, Worker};
use events_testing::ManualClock;

use super::{Runs, eventually, memory, on_demand, settings, state_of, work};
use crate::world::{Seen, events_of, sqlite};

#[reconciles(cron = "* * * * * *", time_zone = "UTC", deadline = "5s")]
async fn secondly(_scope: Scope, State(runs): State<Runs>) -> Result<Report, Failure> {
    runs.push(Instant::now());
    Ok(Report::default())
}

#[reconciles(cron = "0 3 * * *", time_zone = "Europe/Berlin")]
async fn nightly(_scope: Scope, State(runs): State<Runs>) -> Result<Report, Failure> {
    runs.push(Instant::now());
    Ok(Report::default())
}

#[reconciles(cron = "0 3 * * *", time_zone = "Europe/Berlin", run_on_start)]
async fn nightly_and_on_start(_scope: Scope, State(runs): State<Runs>) -> Result<Report, Failure> {
    runs.push(Instant::now());
    Ok(Report::default())
}

/// February has no thirtieth day.
#[reconciles(cron = "0 0 30 2 *", time_zone = "UTC", name = "sweeps.never")]
async fn never(_scope: Scope, _runs: State<Runs>) -> Result<Report, Failure> {
    Ok(Report::default())
}

fn seconds_of_the_clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Each run uses up a second of the clock, whoever runs it; so there are no more runs than seconds
/// have begun meanwhile.
async fn runs_once_for_each_time<B: Broker>(queue: B, another: B) {
    let (runs, told) = (Runs::default(), Seen::default());
    let before = seconds_of_the_clock();
    let workers = [&queue, &another, &queue, &another].map(|queue| work(queue, &runs, &told));
    eventually("three runs", async || runs.all().len() >= 3).await;
    for worker in workers {
        worker.stop().await;
    }
    let begun = seconds_of_the_clock() - before;
    let runs = u64::try_from(runs.all().len()).unwrap();
    assert!(runs <= begun, "{runs} runs in {begun} seconds");
    let state = state_of(&queue).await.unwrap();
    let start = state.started_at.unwrap();
    assert_eq!(state.next_at.as_micros() % 1_000_000, 0, "at a second of the clock");
    assert!(state.next_at > start && state.next_at.since(start) <= Duration::from_secs(1));
    assert_eq!(state.result, Some(RunResult::default()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reconciler_runs_once_at_each_time_of_its_expression_however_many_workers_on_sqlite() {
    let events = events_of(Registry::builder().reconciler::<secondly>(), EventSettings::default());
    let (queue, folder) = sqlite(&events).await;
    let path = folder.path().join("test.db");
    let another = events_sqlx::SqliteQueue::open(path, &events).await.unwrap();
    runs_once_for_each_time(queue, another).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reconciler_runs_once_at_each_time_of_its_expression_however_many_workers_in_memory() {
    let (_events, queue) = memory(Registry::builder().reconciler::<secondly>());
    runs_once_for_each_time(queue.clone(), queue).await;
}

fn moment(rfc3339: &str) -> Timestamp {
    humantime::parse_rfc3339(rfc3339).unwrap().into()
}

/// A queue whose clock stands at this moment.
fn memory_at(rfc3339: &str, registry: events_core::registry::RegistryBuilder) -> MemoryQueue {
    let clock = ManualClock::at(moment(rfc3339));
    let registry = registry.build().unwrap();
    MemoryQueue::new(&Events::builder().registry(registry).clock(clock).build().unwrap())
}

/// The clocks of Berlin are put forward in the night of 29 March.
#[tokio::test]
async fn reconciler_waits_for_its_first_time_on_the_clocks_of_its_zone() {
    for (now, first) in [
        ("2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"),
        ("2026-03-27T12:00:00Z", "2026-03-28T02:00:00Z"),
    ] {
        let queue = memory_at(now, Registry::builder().reconciler::<nightly>());
        let runs = Runs::default();
        let worker = work(&queue, &runs, &Seen::default());
        eventually("it is known", async || state_of(&queue).await.is_some()).await;
        worker.stop().await;
        let state = state_of(&queue).await.unwrap();
        assert!(state.started_at.is_none() && runs.all().is_empty());
        assert_eq!(state.next_at, moment(first));
    }
}

/// Nobody worked from Friday to Monday.
#[tokio::test]
async fn times_that_were_missed_come_to_one_run_at_once() {
    let queue = memory_at("2026-06-08T07:30:00Z", Registry::builder().reconciler::<nightly>());
    let friday = moment("2026-06-05T01:00:00Z");
    let start = RunStart {
        name: queue.events().registry().reconciler("nightly").unwrap().name,
        after: None,
        started_at: friday,
        started_by: WorkerId::generate(),
        next_at: moment("2026-06-06T01:00:00Z"),
    };
    assert!(queue.begin_run(&start).await.unwrap());
    queue.end_run(start.name, friday, friday, &RunResult::default()).await.unwrap();
    let runs = Runs::default();
    let worker = work(&queue, &runs, &Seen::default());
    eventually("it ran", async || !runs.all().is_empty()).await;
    worker.stop().await;
    assert_eq!(runs.all().len(), 1);
    let state = state_of(&queue).await.unwrap();
    assert_eq!(state.started_at, Some(queue.events().now()));
    assert_eq!(state.next_at, moment("2026-06-09T01:00:00Z"), "Tuesday, not Saturday");
}

#[tokio::test]
async fn run_on_start_does_not_wait_for_the_time_of_the_expression() {
    let registry = Registry::builder().reconciler::<nightly_and_on_start>();
    let queue = memory_at("2026-06-08T07:30:00Z", registry);
    let runs = Runs::default();
    let worker = work(&queue, &runs, &Seen::default());
    eventually("it ran", async || !runs.all().is_empty()).await;
    worker.stop().await;
    let state = state_of(&queue).await.unwrap();
    assert_eq!(state.next_at, moment("2026-06-09T01:00:00Z"));
}

#[test]
fn worker_whose_reconciler_names_no_time_does_not_start() {
    let (events, queue) = memory(Registry::builder().reconciler::<never>().reconciler::<nightly>());
    let refused = Worker::builder(&events, queue.clone()).build().unwrap_err().to_string();
    for part in [
        "for 2 reasons",
        "the key `cron` of reconciler `suite::schedule::cron::never` (tests/schedule/cron.rs:",
        "`0 0 30 2 *` names no time that ever comes; write minute, hour",
        "nightly` (tests/schedule/cron.rs:",
        "call `.state(…)`",
    ] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    Worker::builder(&events, queue).reconcilers(false).build().unwrap();
}

/// The compiler checks expressions with a grammar of its own: what it accepts, workers can read.
mod every_form {
    use super::*;

    macro_rules! at {
        ($($function:ident: $expression:literal, $time_zone:literal;)*) => {$(
            #[reconciles(cron = $expression, time_zone = $time_zone)]
            async fn $function(_scope: Scope) -> Result<Report, Failure> {
                Ok(Report::default())
            }
        )*};
    }

    at! {
        number: "0 3 * * *", "UTC";
        step: "*/15 * * * *", "Europe/Berlin";
        ranges_and_lists: "10-40/5 8-18 1,15 * MON-FRI", "America/Argentina/Buenos_Aires";
        names: "0 0 1 jan,Jul sun", "Asia/Kathmandu";
        weekend: "0 0 * * FRI-SUN", "UTC";
        whole_week: "0 0 * * MON-SUN", "UTC";
        seconds: "*/10 * * * * *", "europe/berlin";
        sunday_as_seven: "0 0 * * 7", "UTC";
        last_day: "0 0 L * *", "UTC";
        nearest_weekday: "0 0 15W * *", "UTC";
        last_weekday: "0 0 LW * *", "UTC";
        second_friday: "0 0 * * 5#2", "UTC";
        last_friday: "0 0 * * FRI#L", "UTC";
        first_of_month_and_monday: "0 0 1 * +MON", "UTC";
        no_preference: "0 0 ? * MON", "UTC";
        spaces: "0  3 * * *", "UTC";
        hourly: "@hourly", "UTC";
        yearly: "@yearly", "UTC";
    }

    #[test]
    fn expression_that_compiles_is_one_that_workers_read() {
        let events = crate::world::events_in(module_path!());
        assert_eq!(events.registry().reconcilers().len(), 18);
        Worker::builder(&events, MemoryQueue::new(&events)).build().unwrap();
    }
}

fn cron(expression: Option<&str>, time_zone: Option<&str>) -> ReconcilerSettings {
    ReconcilerSettings {
        cron: expression.map(str::to_owned),
        time_zone: time_zone.map(str::to_owned),
        ..ReconcilerSettings::default()
    }
}

#[test]
fn settings_give_a_reconciler_a_cron_expression() {
    let cadence = |name: &str, changed| {
        let registry = Registry::builder().reconciler::<secondly>().reconciler::<on_demand>();
        let events = events_of(registry, settings(name, changed));
        events.cadence(events.registry().reconciler(name).unwrap()).unwrap()
    };
    let schedule = Schedule::Cron { expression: "0 5 * * *".into(), time_zone: "UTC".into() };
    let given = cadence("on_demand", cron(Some("0 5 * * *"), Some("UTC")));
    let expected = Cadence {
        schedule: schedule.clone(),
        jitter: Duration::ZERO,
        run_on_start: false,
        deadline: None,
    };
    assert_eq!(given, expected);
    let changed = cadence("secondly", cron(Some("0 5 * * *"), Some("UTC")));
    assert_eq!((changed.schedule, changed.deadline), (schedule, Some(Duration::from_secs(5))));
    let every = Some(Duration::from_mins(2));
    let interval = cadence("secondly", ReconcilerSettings { every, ..cron(None, None) });
    assert_eq!(interval.schedule, Schedule::Every(Duration::from_mins(2)));
}

#[test]
fn settings_of_a_cron_expression_that_cannot_work_name_their_key() {
    let start = |changed| {
        let registry = Registry::builder().reconciler::<on_demand>().build().unwrap();
        let settings = settings("on_demand", changed);
        let events = Events::builder().registry(registry).settings(settings).build();
        let events = events.map_err(|error| error.to_string())?;
        let worker = Worker::builder(&events, MemoryQueue::new(&events)).state(Runs::default());
        worker.build().map(drop).map_err(|error| error.to_string())
    };
    let hour = Some(Duration::from_hours(1));
    let nightly = || Some("0 3 * * *");
    let both = ReconcilerSettings { every: hour, ..cron(nightly(), Some("UTC")) };
    for (changed, key, says) in [
        (both, "cron", "keep one of them"),
        (cron(nightly(), None), "time_zone", "add one, such as \"UTC\""),
        (cron(None, Some("UTC")), "time_zone", "it is for `cron`"),
        (cron(Some("61 3 * * *"), Some("UTC")), "cron", "write minute, hour"),
        (cron(Some("0 3 * *"), Some("UTC")), "cron", "such as \"0 3 * * *\""),
        (cron(nightly(), Some("Middle/Earth")), "time_zone", "such as \"UTC\""),
    ] {
        let refused = start(changed).unwrap_err();
        let key = format!("the event setting `reconcilers.on_demand.{key}` cannot be used");
        assert!(refused.contains(&key) && refused.contains(says), "{refused}");
    }
    start(cron(nightly(), Some("Europe/Berlin"))).unwrap();
}

#[test]
fn catalog_tells_the_expression_and_its_time_zone() {
    let registry = Registry::builder().reconciler::<nightly>().reconciler::<super::later>();
    let catalog = Catalog::of(&registry.build().unwrap(), &EventSettings::default());
    let [nightly, later] = catalog.reconcilers.as_slice() else { panic!("two reconcilers") };
    assert_eq!((nightly.cron, nightly.time_zone), (Some("0 3 * * *"), Some("Europe/Berlin")));
    assert_eq!((nightly.every_ms, later.every_ms), (None, Some(3_600_000)));
    assert_eq!((later.cron, later.time_zone), (None, None));
}
