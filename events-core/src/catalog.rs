//! The catalog: what is linked in, as data that serializes.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cadence::Schedule;
use crate::coverage::{self, Severity};
use crate::event::{EventType, Field};
use crate::reconciler::Reconciler;
use crate::registry::Registry;
use crate::settings::EventSettings;

/// Events, publishers, subscribers, reconcilers and coverage findings of a program.
#[derive(Debug, Clone, Serialize)]
pub struct Catalog {
    /// The events, sorted by name.
    pub events: Vec<CatalogEvent>,
    /// The reconcilers, sorted by name.
    pub reconcilers: Vec<CatalogReconciler>,
    /// What coverage found.
    pub findings: Vec<CatalogFinding>,
}

/// An event type, who publishes it and who listens.
#[derive(Debug, Clone, Serialize)]
pub struct CatalogEvent {
    /// Its name on the wire.
    pub name: &'static str,
    /// Its fields.
    pub fields: Vec<CatalogField>,
    /// Functions that publish it, sorted.
    pub publishers: Vec<CatalogPublisher>,
    /// Its subscribers, sorted by task name.
    pub subscribers: Vec<CatalogSubscriber>,
}

/// A field of an event.
#[derive(Debug, Clone, Serialize)]
pub struct CatalogField {
    /// The key.
    pub name: &'static str,
    /// The kind of JSON value, with its article.
    pub kind: String,
    /// Whether it may be absent or `null`.
    pub optional: bool,
}

/// A function that publishes.
#[derive(Debug, Clone, Serialize, PartialEq, Eq, PartialOrd, Ord)]
pub struct CatalogPublisher {
    /// Its path.
    pub function: &'static str,
    /// `file:line`.
    pub location: String,
}

/// A subscriber.
#[derive(Debug, Clone, Serialize)]
pub struct CatalogSubscriber {
    /// The task's name.
    pub task: &'static str,
    /// Whether another program runs its tasks, and decides about retries and time limits.
    pub foreign: bool,
    /// Old names it still accepts.
    pub aliases: &'static [&'static str],
    /// Its queue.
    pub queue: String,
    /// Smaller runs first.
    pub priority: i16,
    /// How often a failed task is tried again, unless it is foreign.
    pub max_retries: Option<u32>,
    /// How long the handler may run, in milliseconds, unless it is foreign.
    pub timeout_ms: Option<u128>,
    /// How long after the commit its tasks are due, in milliseconds, if it waits.
    pub delay_ms: Option<u128>,
    /// The field that must be quiet, and for how long, if it is debounced.
    pub debounce: Option<CatalogDebounce>,
    /// Whether it runs in the transaction in which its task completes.
    pub transactional: bool,
    /// The reconciler behind it.
    pub reconciled_by: Option<&'static str>,
    /// `file:line`.
    pub location: String,
}

/// The debounce of a subscriber.
#[derive(Debug, Clone, Serialize)]
pub struct CatalogDebounce {
    /// The field of the event.
    pub by: &'static str,
    /// How long it must be quiet, in milliseconds.
    pub window_ms: u128,
    /// How long a busy one waits at the most, in milliseconds.
    pub longest_ms: u128,
}

/// A reconciler.
#[derive(Debug, Clone, Serialize)]
pub struct CatalogReconciler {
    /// Its name.
    pub name: &'static str,
    /// The interval at which its attribute says that it runs, in milliseconds, if it has one.
    pub every_ms: Option<u128>,
    /// The cron expression by which its attribute says that it runs, if it has one.
    pub cron: Option<&'static str>,
    /// The time zone of the cron expression.
    pub time_zone: Option<&'static str>,
    /// `file:line`.
    pub location: String,
}

/// A coverage finding.
#[derive(Debug, Clone, Serialize)]
pub struct CatalogFinding {
    /// Its kind.
    pub kind: &'static str,
    /// Whether it fails a coverage check by default.
    pub error: bool,
    /// What it says.
    pub text: String,
}

impl Catalog {
    /// The catalog of what `registry` has, under these settings.
    #[must_use]
    pub fn of(registry: &Registry, settings: &EventSettings) -> Self {
        let mut events: BTreeMap<&'static str, CatalogEvent> = BTreeMap::new();
        for publisher in registry.publishers() {
            for declared in publisher.events {
                event(&mut events, declared.event).publishers.push(CatalogPublisher {
                    function: publisher.path(),
                    location: publisher.location(),
                });
            }
        }
        for subscriber in registry.subscribers() {
            let foreign = subscriber.is_foreign();
            event(&mut events, subscriber.event).subscribers.push(CatalogSubscriber {
                task: subscriber.task,
                foreign,
                aliases: subscriber.aliases,
                queue: subscriber.queue(settings).to_owned(),
                priority: subscriber.priority,
                max_retries: (!foreign).then(|| subscriber.retry_policy(settings).max_retries),
                timeout_ms: (!foreign).then(|| subscriber.timeout(settings).as_millis()),
                delay_ms: subscriber.delay.map(|delay| delay.as_millis()),
                debounce: subscriber.debounce.map(|debounce| CatalogDebounce {
                    by: debounce.by,
                    window_ms: debounce.window.as_millis(),
                    longest_ms: debounce.longest.as_millis(),
                }),
                transactional: subscriber.is_transactional(),
                reconciled_by: subscriber.reconciled_by,
                location: subscriber.location(),
            });
        }
        let mut events: Vec<_> = events.into_values().collect();
        for event in &mut events {
            event.publishers.sort();
        }
        let reconcilers = registry.reconcilers().iter().map(|reconciler| of_reconciler(reconciler));
        let findings = coverage::findings(registry).into_iter().map(|finding| CatalogFinding {
            kind: finding.kind(),
            error: finding.severity() == Severity::Error,
            text: finding.to_string(),
        });
        Self { events, reconcilers: reconcilers.collect(), findings: findings.collect() }
    }
}

fn of_reconciler(reconciler: &'static Reconciler) -> CatalogReconciler {
    let (every_ms, cron, time_zone) = match reconciler.cadence.as_ref().map(|it| &it.schedule) {
        Some(Schedule::Every(every)) => (Some(every.as_millis()), None, None),
        Some(Schedule::Cron { expression, time_zone }) => {
            (None, Some(&**expression), Some(&**time_zone))
        }
        None => (None, None, None),
    };
    let location = format!("{}:{}", reconciler.file, reconciler.line);
    CatalogReconciler { name: reconciler.name, every_ms, cron, time_zone, location }
}

fn event<'c>(
    events: &'c mut BTreeMap<&'static str, CatalogEvent>,
    of: EventType,
) -> &'c mut CatalogEvent {
    events.entry(of.name).or_insert_with(|| CatalogEvent {
        name: of.name,
        fields: of.fields.iter().map(field).collect(),
        publishers: Vec::new(),
        subscribers: Vec::new(),
    })
}

fn field(field: &Field) -> CatalogField {
    CatalogField { name: field.name, kind: field.kind.to_string(), optional: field.optional }
}
