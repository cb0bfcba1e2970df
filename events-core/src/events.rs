//! The program's events: what is registered, how it is set, and the switches.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::cadence::{Cadence, Schedule};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::dispatch::{FanOut, fan_out};
use crate::extract::States;
use crate::lifecycle::rescue_delay;
use crate::queues::Queues;
use crate::reconciler::{ReconcileError, Reconciler, Report, Scope};
use crate::registry::{Registry, RegistryError};
use crate::session::PendingEvents;
use crate::settings::{EventSettings, InvalidSetting, ReconcilerSettings};
use crate::task::Task;

/// The events of a program: its registry, settings, clock and switches. Cheap to clone; clones
/// share the switches.
///
/// ```
/// # use events_core::prelude::*;
/// let events = Events::builder().settings(EventSettings::default()).build()?;
/// assert!(events.is_enabled());
/// # Ok::<(), events_core::StartError>(())
/// ```
#[derive(Clone)]
pub struct Events(Arc<Inner>);

struct Inner {
    registry: &'static Registry,
    settings: EventSettings,
    enabled: AtomicBool,
    clock: Arc<dyn Clock>,
    traceparent: Option<TraceContext>,
}

type TraceContext = Box<dyn Fn() -> Option<String> + Send + Sync>;

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("registry", &self.0.registry)
            .field("enabled", &self.is_enabled())
            .finish_non_exhaustive()
    }
}

impl Events {
    /// Starts with the linked registry, default settings and the machine's clock.
    pub fn builder() -> EventsBuilder {
        EventsBuilder {
            registry: None,
            settings: EventSettings::default(),
            clock: Arc::new(SystemClock),
            traceparent: None,
        }
    }

    /// What is registered.
    #[must_use]
    pub fn registry(&self) -> &'static Registry {
        self.0.registry
    }

    /// How it is set.
    #[must_use]
    pub fn settings(&self) -> &EventSettings {
        &self.0.settings
    }

    /// The time now, by the program's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// The kill switch: while `false`, committed events are logged and dropped. Handlers of tasks
    /// that exist already still run; reconcilers repair what was dropped.
    pub fn set_enabled(&self, enabled: bool) {
        match (self.0.enabled.swap(enabled, Ordering::SeqCst), enabled) {
            (true, false) => tracing::warn!(
                "dispatch of events disabled by the kill switch: committed events are dropped"
            ),
            (false, true) => tracing::warn!("dispatch of events enabled again"),
            _ => {}
        }
    }

    /// Whether committed events are dispatched.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.0.enabled.load(Ordering::SeqCst)
    }

    /// Whether `other` is a clone of this, sharing its registry, settings and switches.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The queues whose handlers are in other programs, as
    /// [`foreign_subscriber!`](crate::foreign_subscriber!) declares them: what to
    /// [forward](crate::Forwarding).
    ///
    /// A queue is forwarded as a whole. So if a handler of this program shares one of these, its tasks
    /// go with the others.
    ///
    /// ```
    /// use events_core::Forwarding;
    /// use events_core::prelude::*;
    ///
    /// #[derive(Event)]
    /// struct OrderPlaced { order_id: u64 }
    ///
    /// foreign_subscriber! {
    ///     event = OrderPlaced,
    ///     task = "shop.tasks.send_confirmation",
    ///     queue = "mail",
    ///     freshness_only,
    /// }
    ///
    /// # fn main() -> Result<(), events_core::StartError> {
    /// let events = Events::builder().build()?;
    /// let forwarding = Forwarding::outbox(events.foreign_queues());
    /// assert_eq!(*forwarding.queues(), Queues::only(["mail"]));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn foreign_queues(&self) -> Queues {
        let foreign = self.registry().foreign_subscribers();
        Queues::only(foreign.map(|subscriber| subscriber.queue(self.settings())))
    }

    pub(crate) fn current_traceparent(&self) -> Option<String> {
        self.0.traceparent.as_ref().and_then(|current| current())
    }

    /// What the commit of a session sends: takes its pending events and fans them out.
    ///
    /// For adapters. Call it right before the commit (or, for after-commit dispatch, right after),
    /// and log the tasks with [`log_dispatched`] once the commit has succeeded.
    #[must_use]
    pub fn dispatch(&self, pending: &mut PendingEvents) -> Vec<Task> {
        if pending.is_empty() {
            return Vec::new();
        }
        let FanOut { tasks, unheard, dropped } = fan_out(
            pending.take(),
            self.0.registry,
            &self.0.settings,
            self.is_enabled(),
            self.now(),
        );
        for event in unheard {
            tracing::warn!(
                event_id = %event.id,
                event = event.event,
                publisher = %event.publisher,
                "event has no subscriber; is the subscriber's crate linked (link_subscribers!)?"
            );
        }
        for event in dropped {
            tracing::warn!(
                event_id = %event.id,
                event = event.event,
                publisher = %event.publisher,
                payload = &*event.payload,
                "dispatch is disabled by the kill switch: event dropped"
            );
        }
        tasks
    }

    /// How long to wait before a task of this name is offered again whose worker died in attempt number
    /// `attempt`: by the policy of its subscriber, or that of the settings if nobody here runs it.
    ///
    /// For brokers. `jitter` is in `0.0..=1.0`.
    #[must_use]
    pub fn rescue_delay(&self, task: &str, attempt: u32, jitter: f64) -> Duration {
        let (registry, settings) = (self.0.registry, &self.0.settings);
        let backoff = match registry.subscriber(task) {
            Some(subscriber) => subscriber.retry_policy(settings).backoff,
            None => settings.backoff(),
        };
        rescue_delay(attempt, &backoff, jitter)
    }

    /// When this reconciler runs by itself, by the settings and its attribute; `None` if it runs on
    /// demand only.
    #[must_use]
    pub fn cadence(&self, reconciler: &Reconciler) -> Option<Cadence> {
        let declared = reconciler.cadence.clone();
        let Some((_, settings)) = self.reconciler_settings(reconciler) else { return declared };
        if settings.on_demand_only {
            return None;
        }
        let Some(schedule) = settings.schedule() else { return declared };
        let Some(declared) = declared else {
            let (jitter, run_on_start) = (Duration::ZERO, false);
            return Some(Cadence { schedule, jitter, run_on_start, deadline: None });
        };
        let longest = match schedule {
            Schedule::Every(every) => every,
            Schedule::Cron { .. } => Duration::MAX,
        };
        let deadline = declared.deadline.map(|deadline| deadline.min(longest));
        Some(Cadence { schedule, jitter: declared.jitter.min(longest), deadline, ..declared })
    }

    /// What the settings say of this reconciler, and the name by which they call it.
    #[doc(hidden)] // for the messages of workers
    #[must_use]
    pub fn reconciler_settings(
        &self,
        reconciler: &Reconciler,
    ) -> Option<(&str, &ReconcilerSettings)> {
        let registry = self.0.registry;
        let is_this = |name: &str| {
            registry.reconciler(name).is_some_and(|found| found.name == reconciler.name)
        };
        let mut settings = self.0.settings.reconcilers.iter();
        settings.find(|(name, _)| is_this(name)).map(|(name, settings)| (&**name, settings))
    }

    /// Runs the reconciler of this name now, in this process, and returns its report. Whether and
    /// when it runs by itself does not matter, nor does this change it.
    ///
    /// # Errors
    /// No reconciler has the name, it takes a state that `states` lacks, or it failed.
    pub async fn reconcile(
        &self,
        name: &str,
        scope: Scope,
        states: &States,
    ) -> Result<Report, ReconcileError> {
        let Some(reconciler) = self.0.registry.reconciler(name) else {
            let known = self.0.registry.reconcilers().iter().map(|reconciler| reconciler.name);
            return Err(ReconcileError::Unknown { name: name.into(), known: known.collect() });
        };
        let name = reconciler.name;
        let run = (reconciler.handler)(scope, states)
            .map_err(|source| ReconcileError::NotCallable { name, source })?;
        let started = self.now();
        let result = run.await.map_err(|source| ReconcileError::Failed { name, source });
        let duration = self.now().since(started);
        match &result {
            Ok(report) => tracing::info!(
                reconciler = name,
                result = "ok",
                checked = report.checked,
                changed = report.changed(),
                failed = report.failed.len(),
                ?duration,
                "reconciled"
            ),
            Err(error) => tracing::error!(
                reconciler = name,
                result = "failed",
                error = error as &dyn std::error::Error,
                ?duration,
                "reconciler failed; the next run or an on-demand run recovers"
            ),
        }
        result
    }
}

/// Logs that these tasks are on their queues.
pub fn log_dispatched(tasks: &[Task]) {
    for task in tasks {
        tracing::debug!(
            event_id = %task.event_id,
            event = &*task.event,
            subscriber = &*task.name,
            task_id = %task.id,
            queue = &*task.queue,
            "event dispatched"
        );
    }
}

/// What [`log_dispatched`] is to tell of tasks that are given away before it is known whether they
/// arrive: copies of them, or none while nobody listens.
#[must_use]
pub fn kept_for_log(tasks: &[Task]) -> Vec<Task> {
    match tracing::enabled!(tracing::Level::DEBUG) {
        true => tasks.to_vec(),
        false => Vec::new(),
    }
}

/// Builds [`Events`].
#[must_use]
pub struct EventsBuilder {
    registry: Option<&'static Registry>,
    settings: EventSettings,
    clock: Arc<dyn Clock>,
    traceparent: Option<TraceContext>,
}

impl fmt::Debug for EventsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventsBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl EventsBuilder {
    /// The application's settings.
    pub fn settings(mut self, settings: EventSettings) -> Self {
        self.settings = settings;
        self
    }

    /// A registry of one's own instead of what is linked, for tests and plugins.
    ///
    /// It lives as long as the process: subscribers are looked up from everywhere.
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = Some(Box::leak(Box::new(registry)));
        self
    }

    /// Another clock, for tests.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Where the current W3C `traceparent` comes from, to travel with every event published.
    pub fn trace_context(
        mut self,
        current: impl Fn() -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.traceparent = Some(Box::new(current));
        self
    }

    /// Links the registry and checks everything that can be checked at start.
    ///
    /// # Errors
    /// A setting that cannot work; or wrong wiring, every mistake of it. The text says the remedy.
    pub fn build(self) -> Result<Events, StartError> {
        self.settings.check()?;
        let registry = match self.registry {
            Some(registry) => registry,
            None => Registry::linked()?,
        };
        check_reconcilers(&self.settings, registry)?;
        tracing::info!(
            subscribers = registry.local_subscribers().count(),
            foreign_subscribers = registry.foreign_subscribers().count(),
            publishers = registry.publishers().len(),
            crates = ?registry.crates(),
            enabled = self.settings.enabled,
            "events linked"
        );
        Ok(Events(Arc::new(Inner {
            registry,
            enabled: AtomicBool::new(self.settings.enabled),
            settings: self.settings,
            clock: self.clock,
            traceparent: self.traceparent,
        })))
    }
}

/// A setting for a reconciler that is not there would do nothing.
fn check_reconcilers(settings: &EventSettings, registry: &Registry) -> Result<(), InvalidSetting> {
    let unknown = settings.reconcilers.keys().find(|name| registry.reconciler(name).is_none());
    let Some(unknown) = unknown else { return Ok(()) };
    let known: Vec<_> = registry.reconcilers().iter().map(|reconciler| reconciler.name).collect();
    let remedy = match known.is_empty() {
        true => "this program has no reconcilers; is their crate linked?".to_owned(),
        false => format!(
            "no reconciler has this name, or several in short; there are {}",
            known.join(", ")
        ),
    };
    Err(InvalidSetting::new(format!("reconcilers.{unknown}"), remedy))
}

/// Why a program's events cannot start.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting that cannot work.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// Wrong wiring.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}
