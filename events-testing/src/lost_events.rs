//! If every event is lost, the reconcilers alone reach the state to which the events would have led.

mod difference;
mod error;

use std::fmt::Debug;
use std::time::Duration;

use events_core::broker::{Admin, Broker, Counts};
use events_core::extract::States;
use events_core::lifecycle::Next;
use events_core::{BoxError, Events, Report, Scope};

pub use self::error::LostEventsError;
use crate::clock::ManualClock;
use crate::drain::{Drained, Run, drain};

/// Begins a check that reconcilers repair what lost events would have done, for one scenario.
///
/// The scenario has two parts: a world, and changes in it. It runs twice, each time in a fresh
/// world, whose events are handled in both. Then the changes: once their events are dispatched, and
/// all their tasks run to the end; once dispatch is switched off, every event of the changes is
/// lost, and only the reconcilers run. Both must lead to the same state; and a second run of the
/// reconcilers, which finds nothing left to do, must change nothing.
///
/// Two parts, because what is stale must first have been right. Were every event lost from the
/// beginning, nothing would ever be derived that the changes can make wrong, and a reconciler that
/// adds what is missing but never removes what is stale would pass.
///
/// What the reconcilers publish is lost as well: they must repair the rows themselves.
///
/// Give it `Events` of their own: it turns their kill switch, and turns it back at the end.
///
/// ```
/// use std::collections::{BTreeMap, BTreeSet};
/// use std::sync::{Arc, Mutex};
///
/// use events_core::extract::States;
/// use events_core::{BoxError, Registry, prelude::*};
/// use events_runtime::MemoryQueue;
/// use events_testing::lost_events;
///
/// #[derive(Event)]
/// struct RoleChanged { user: String }
///
/// /// The role of each; derived from it, who may approve.
/// #[derive(Default)]
/// struct People { roles: BTreeMap<String, &'static str>, approvers: BTreeSet<String> }
///
/// type Store = Arc<Mutex<People>>;
///
/// #[subscribes_to(RoleChanged, reconciled_by = sweep_approvers)]
/// async fn follow_role(event: RoleChanged, State(store): State<Store>) {
///     let People { roles, approvers } = &mut *store.lock().unwrap();
///     match roles.get(&event.user) {
///         Some(&"manager") => approvers.insert(event.user),
///         _ => approvers.remove(&event.user),
///     };
/// }
///
/// #[reconciles]
/// async fn sweep_approvers(_scope: Scope, State(store): State<Store>) -> Result<Report, Failure> {
///     let People { roles, approvers } = &mut *store.lock().unwrap();
///     let managers = roles.iter().filter(|(_, role)| **role == "manager");
///     let right: BTreeSet<_> = managers.map(|(user, _)| user.clone()).collect();
///     let added = right.difference(approvers).count() as u64;
///     let removed = approvers.difference(&right).count() as u64;
///     *approvers = right;
///     Ok(Report { checked: roles.len() as u64, added, removed, ..Report::default() })
/// }
///
/// #[publishes(RoleChanged)]
/// fn set_role(
///     session: &mut impl Session,
///     store: &Store,
///     user: &str,
///     role: &'static str,
/// ) -> Result<EventId, PublishError> {
///     store.lock().unwrap().roles.insert(user.into(), role);
///     publish_after_commit(session, RoleChanged { user: user.into() })
/// }
///
/// /// A fresh world. What is published here is handled in both runs.
/// async fn two_managers(events: &Events) -> Result<(MemoryQueue, States), BoxError> {
///     let (queue, store) = (MemoryQueue::new(events), Store::default());
///     let mut session = queue.begin();
///     set_role(&mut session, &store, "ada", "manager")?;
///     set_role(&mut session, &store, "bob", "manager")?;
///     session.commit().await?;
///     let mut states = States::new();
///     states.insert(store);
///     Ok((queue, states))
/// }
///
/// /// What happens in it. These events are lost in the second run: ada may still approve.
/// async fn ada_steps_down(queue: &MemoryQueue, states: &States) -> Result<(), BoxError> {
///     let store = states.get::<Store>().ok_or("the store is gone")?;
///     let mut session = queue.begin();
///     set_role(&mut session, &store, "ada", "engineer")?;
///     session.commit().await?;
///     Ok(())
/// }
///
/// /// The state that both ways must lead to.
/// async fn approvers(_queue: &MemoryQueue, states: &States) -> Result<BTreeSet<String>, BoxError> {
///     let store = states.get::<Store>().ok_or("the store is gone")?;
///     Ok(store.lock().unwrap().approvers.clone())
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
/// let registry =
///     Registry::builder().subscriber::<follow_role>().reconciler::<sweep_approvers>().build()?;
/// let events = Events::builder().registry(registry).build()?;
/// let reports = lost_events(&events).check(two_managers, ada_steps_down, approvers).await?;
/// assert_eq!(reports[0].1.removed, 1);
/// # Ok(()) }
/// ```
pub fn lost_events(events: &Events) -> LostEvents<'_> {
    LostEvents { events, reconcilers: None, clock: None, may_change_nothing: false }
}

/// A check of what happens if every event is lost. See [`lost_events()`].
#[must_use = "a check checks nothing until `assert` or `check`"]
#[derive(Debug)]
pub struct LostEvents<'e> {
    events: &'e Events,
    reconcilers: Option<Vec<String>>,
    clock: Option<(ManualClock, Duration)>,
    may_change_nothing: bool,
}

impl LostEvents<'_> {
    /// The reconcilers to run, in this order: their names, or the last segments of them. Without it
    /// all that are registered run, in the order of their names.
    ///
    /// One that builds on what another repairs comes after it.
    pub fn reconcilers<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.reconcilers = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Moves the clock, on which these `Events` must run, so that tasks run that wait for later:
    /// those of subscribers with `delay` or `debounce`.
    ///
    /// It moves this much after the world is opened, and again after the changes. Both runs begin
    /// at the same time, and each of their parts sees the same time in both.
    pub fn clock(mut self, clock: &ManualClock, moved_by: Duration) -> Self {
        self.clock = Some((clock.clone(), moved_by));
        self
    }

    /// Accepts changes whose events change nothing. Otherwise it fails, for reconcilers that do
    /// nothing at all would pass.
    pub fn may_change_nothing(mut self) -> Self {
        self.may_change_nothing = true;
        self
    }

    /// Checks, and returns what each reconciler reported of its first run.
    ///
    /// `world` opens a fresh world with the `Events` that it is given, and brings it to where the
    /// scenario begins. It returns the queue, and the states of handlers and reconcilers. What must
    /// live as long as the queue, such as a temporary folder, goes among the states in an `Arc`.
    /// What it publishes is handled in both runs, before the changes; so let events derive here
    /// what the changes then make stale, rather than write it by hand.
    ///
    /// `changes` changes things in that world and commits. What it publishes is handled in the
    /// first run, and lost in the second.
    ///
    /// `state` reads what both ways must lead to. It is compared as a whole, so leave out what
    /// differs from one run to the next, such as random keys.
    ///
    /// # Errors
    /// The two ways do not lead to the same state, or the scenario proves nothing; the text says
    /// which, and shows the states.
    ///
    /// # Panics
    /// A handler takes a state that is not among those that `world` returned.
    pub async fn check<B: Broker + Admin, S: PartialEq + Debug>(
        self,
        world: impl AsyncFn(&Events) -> Result<(B, States), BoxError>,
        changes: impl AsyncFn(&B, &States) -> Result<(), BoxError>,
        state: impl AsyncFn(&B, &States) -> Result<S, BoxError>,
    ) -> Result<Vec<(&'static str, Report)>, LostEventsError> {
        let reconcilers = self.find_reconcilers()?;
        let began = self.events.now();
        let _switched_back_at_the_end =
            Switch { events: self.events, was: self.events.is_enabled() };

        let (broker, states) = self.begin(&world).await?;
        self.events.set_enabled(true);
        changes(&broker, &states).await.map_err(LostEventsError::Changes)?;
        if self.run_tasks(&broker, &states).await? == 0 {
            return Err(LostEventsError::NoTasks);
        }
        let by_events = state(&broker, &states).await.map_err(LostEventsError::State)?;
        drop((broker, states));

        if let Some((clock, _)) = &self.clock {
            clock.set(began);
        }
        let (broker, states) = self.begin(&world).await?;
        let queued = broker.counts().await?;
        self.events.set_enabled(false);
        changes(&broker, &states).await.map_err(LostEventsError::Changes)?;
        if self.events.is_enabled() || broker.counts().await? != queued {
            return Err(LostEventsError::NotLost);
        }
        self.move_clock();
        let read = async || state(&broker, &states).await.map_err(LostEventsError::State);
        let without = read().await?;
        if without == by_events && !self.may_change_nothing {
            return Err(LostEventsError::nothing_to_repair(&without));
        }
        let reports = self.reconcile(&reconcilers, &states).await?;
        let by_reconcilers = read().await?;
        if by_reconcilers != by_events {
            return Err(LostEventsError::not_reached(&by_events, &by_reconcilers));
        }
        let again = self.reconcile(&reconcilers, &states).await?;
        if let Some((name, report)) = again.into_iter().find(|(_, report)| report.changed() > 0) {
            return Err(LostEventsError::NotAtRest { name, report });
        }
        let in_the_end = read().await?;
        match in_the_end == by_events {
            true => Ok(reports),
            false => Err(LostEventsError::moved_on(&by_events, &in_the_end)),
        }
    }

    /// Checks, and panics if something is wrong.
    ///
    /// # Panics
    /// Where [`check`](Self::check) returns an error; with its text.
    pub async fn assert<B: Broker + Admin, S: PartialEq + Debug>(
        self,
        world: impl AsyncFn(&Events) -> Result<(B, States), BoxError>,
        changes: impl AsyncFn(&B, &States) -> Result<(), BoxError>,
        state: impl AsyncFn(&B, &States) -> Result<S, BoxError>,
    ) {
        if let Err(error) = self.check(world, changes, state).await {
            let cause = std::error::Error::source(&error);
            let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
            panic!("{error}{cause}");
        }
    }

    fn find_reconcilers(&self) -> Result<Vec<&'static str>, LostEventsError> {
        let registry = self.events.registry();
        let all = || registry.reconcilers().iter().map(|reconciler| reconciler.name);
        let found: Vec<_> = match &self.reconcilers {
            None => all().collect(),
            Some(names) => {
                let find = |name: &String| match registry.reconciler(name) {
                    Some(reconciler) => Ok(reconciler.name),
                    None => {
                        Err(LostEventsError::Unknown { name: name.clone(), known: all().collect() })
                    }
                };
                names.iter().map(find).collect::<Result<_, _>>()?
            }
        };
        if found.is_empty() { Err(LostEventsError::NoReconcilers) } else { Ok(found) }
    }

    /// Opens a world, in which everything that it publishes is handled.
    async fn begin<B: Broker + Admin>(
        &self,
        world: &impl AsyncFn(&Events) -> Result<(B, States), BoxError>,
    ) -> Result<(B, States), LostEventsError> {
        self.events.set_enabled(true);
        let (broker, states) = world(self.events).await.map_err(LostEventsError::World)?;
        if !broker.events().is_same(self.events) {
            return Err(LostEventsError::OtherEvents);
        }
        self.run_tasks(&broker, &states).await?;
        Ok((broker, states))
    }

    /// Runs every task, those that wait included, and insists that each completes. Returns how
    /// many there were, with those for other programs, of which nothing comes here.
    async fn run_tasks<B: Broker + Admin>(
        &self,
        broker: &B,
        states: &States,
    ) -> Result<usize, LostEventsError> {
        let Drained { mut runs, mut foreign } = drain(broker, states).await?;
        if self.move_clock() {
            let later = drain(broker, states).await?;
            runs.extend(later.runs);
            foreign.extend(later.foreign);
        }
        let failed: Vec<_> = runs.iter().filter_map(failure).collect();
        if !failed.is_empty() {
            return Err(LostEventsError::Failed { failed });
        }
        match broker.counts().await? {
            Counts { available: 0, scheduled: 0, .. } => Ok(runs.len() + foreign.len()),
            Counts { available, scheduled, .. } => {
                Err(LostEventsError::Waiting { tasks: available + scheduled })
            }
        }
    }

    /// Moves the clock, if there is one, once for each part of the scenario, whether or not tasks
    /// wait: the second run must see the times of the first.
    fn move_clock(&self) -> bool {
        if let Some((clock, moved_by)) = &self.clock {
            clock.advance(*moved_by);
        }
        self.clock.is_some()
    }

    async fn reconcile(
        &self,
        reconcilers: &[&'static str],
        states: &States,
    ) -> Result<Vec<(&'static str, Report)>, LostEventsError> {
        let mut reports = Vec::new();
        for &name in reconcilers {
            let report = self.events.reconcile(name, Scope::All, states).await?;
            if !report.failed.is_empty() {
                return Err(LostEventsError::Items { name, failed: report.failed });
            }
            reports.push((name, report));
        }
        Ok(reports)
    }
}

/// Why a run was no success, if it was none. One that snoozed was none of either.
fn failure(run: &Run) -> Option<String> {
    match &run.next {
        Next::Retry { error, .. } | Next::Bury { error } => Some(format!("{}: {error}", run.name)),
        _ => None,
    }
}

/// Turns the kill switch back to where it was.
struct Switch<'e> {
    events: &'e Events,
    was: bool,
}

impl Drop for Switch<'_> {
    fn drop(&mut self) {
        self.events.set_enabled(self.was);
    }
}
