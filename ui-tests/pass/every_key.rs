//! Every key of every attribute, and what it becomes.

use std::time::Duration;

use events_core::__private::{ReconcilerFunction, SubscriberFunction};
use events_core::cadence::{Cadence, Schedule};
use events_core::prelude::*;
use events_core::subscriber::{Backoff, Debounce, Handler};

#[derive(Event)]
#[event(name = "shop.changed")]
struct Changed {
    #[event(rename = "id", alias = "identifier", alias = "key")]
    system_id: String,
    #[event(default)]
    count: u32,
}

#[subscribes_to(
    Changed,
    queue = "slow",
    max_retries = 8,
    retry_backoff = "1s..1h",
    timeout = "1m 30s",
    priority = -7,
    debounce = "30s",
    debounce_by = system_id,
    debounce_max = "2m",
    reconciled_by = sweep,
    name = "events.changed",
    alias = "events.old",
    alias = "events.older",
    crate = events_core,
)]
async fn on_change(event: Changed) {
    let _ = (event.system_id, event.count);
}

#[subscribes_to(Changed, retry_backoff = "250ms", delay = "5m", freshness_only)]
fn plain(_event: Changed) {}

#[reconciles(
    every = "15m",
    jitter = "30s",
    run_on_start,
    deadline = "5m",
    name = "sweeps.all",
    crate = ::events_core,
)]
async fn sweep(_scope: Scope) -> Result<Report, Failure> {
    Ok(Report::default())
}

#[reconciles(cron = "0 3 * * MON-FRI", time_zone = "Europe/Berlin", jitter = "5m")]
async fn nightly(_scope: Scope) -> Result<Report, Failure> {
    Ok(Report::default())
}

#[reconciles(cron = "*/10 * * * * *", time_zone = "UTC", run_on_start, deadline = "1s")]
async fn often(_scope: Scope) -> Result<Report, Failure> {
    Ok(Report::default())
}

fn main() {
    assert_eq!(Changed::NAME, "shop.changed");
    let [id, count] = Changed::FIELDS else { panic!("two fields") };
    assert_eq!((id.name, id.rust_name, id.optional), ("id", "system_id", false));
    assert_eq!((count.name, count.rust_name, count.optional), ("count", "count", true));

    let subscriber = on_change::SUBSCRIBER;
    assert_eq!(subscriber.task, "events.changed");
    assert_eq!(subscriber.aliases, ["events.old", "events.older"]);
    assert_eq!(subscriber.event.name, "shop.changed");
    assert_eq!(subscriber.queue, Some("slow"));
    assert_eq!(subscriber.max_retries, Some(8));
    let backoff = Backoff {
        initial: Duration::from_secs(1),
        maximum: Some(Duration::from_secs(3600)),
    };
    assert_eq!(subscriber.retry_backoff, Some(backoff));
    assert_eq!(subscriber.timeout, Some(Duration::from_secs(90)));
    assert_eq!(subscriber.priority, -7);
    let debounce = Debounce {
        window: Duration::from_secs(30),
        longest: Duration::from_secs(120),
        by: "id",
    };
    assert_eq!(subscriber.debounce, Some(debounce));
    assert_eq!(subscriber.reconciled_by, Some("sweeps.all"));
    assert!(!subscriber.freshness_only);
    assert!(subscriber.needs.is_empty());
    assert!(matches!(subscriber.handler, Handler::Async(_)));
    assert!(subscriber.file.ends_with("every_key.rs") && subscriber.line == 19);

    let plain = plain::SUBSCRIBER;
    let module = module_path!().replace("::", ".");
    assert_eq!(plain.task, format!("events.shop.changed.{module}.plain"));
    assert_eq!(plain.function, concat!(module_path!(), "::plain"));
    assert_eq!((plain.queue, plain.max_retries, plain.timeout), (None, None, None));
    let backoff = Backoff { initial: Duration::from_millis(250), maximum: None };
    assert_eq!(plain.retry_backoff, Some(backoff));
    assert_eq!(plain.delay, Some(Duration::from_secs(300)));
    assert!(plain.freshness_only && plain.reconciled_by.is_none() && plain.priority == 0);
    assert!(matches!(plain.handler, Handler::Blocking(_)));

    let cadence = Cadence {
        schedule: Schedule::Every(Duration::from_secs(900)),
        jitter: Duration::from_secs(30),
        run_on_start: true,
        deadline: Some(Duration::from_secs(300)),
    };
    assert_eq!(sweep::RECONCILER.cadence, Some(cadence));
    assert_eq!(sweep::RECONCILER.name, "sweeps.all");

    let schedule =
        Schedule::Cron { expression: "0 3 * * MON-FRI".into(), time_zone: "Europe/Berlin".into() };
    let cadence = Cadence {
        schedule,
        jitter: Duration::from_secs(300),
        run_on_start: false,
        deadline: None,
    };
    assert_eq!(nightly::RECONCILER.cadence, Some(cadence));
    let often = often::RECONCILER.cadence.as_ref().expect("it has one");
    assert_eq!((often.run_on_start, often.longest_run()), (true, Duration::from_secs(1)));
}
