//! What a check of lost events accepts, and what it refuses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use events_core::extract::States;
use events_core::registry::{Registry, RegistryBuilder};
use events_core::{BoxError, prelude::*};
use events_runtime::MemoryQueue;
use events_testing::{LostEvents, LostEventsError, ManualClock, lost_events};

/// Systems and their owners; who may see what follows from it.
#[derive(Debug, Default)]
struct Data {
    owners: BTreeMap<String, String>,
    viewers: BTreeSet<(String, String)>,
    sweeps: u64,
}

#[derive(Clone, Default)]
struct Store(Arc<Mutex<Data>>);

impl Store {
    fn data(&self) -> MutexGuard<'_, Data> {
        self.0.lock().unwrap()
    }
}

impl Data {
    /// The viewers as they should be.
    fn owners_as_viewers(&self) -> BTreeSet<(String, String)> {
        let owners = self.owners.iter();
        owners.map(|(system, owner)| (system.clone(), owner.clone())).collect()
    }
}

#[derive(Event)]
struct OwnerChanged {
    system: String,
}

#[subscribes_to(OwnerChanged, freshness_only)]
async fn follow(event: OwnerChanged, State(store): State<Store>) {
    let mut data = store.data();
    data.viewers.retain(|(system, _)| *system != event.system);
    if let Some(owner) = data.owners.get(&event.system).cloned() {
        data.viewers.insert((event.system, owner));
    }
}

#[subscribes_to(OwnerChanged, freshness_only, delay = "5m")]
async fn follow_later(event: OwnerChanged, state: State<Store>) {
    follow(event, state).await;
}

#[subscribes_to(OwnerChanged, freshness_only)]
async fn fail(_event: OwnerChanged) -> Result<(), Failure> {
    Err(Failure::discard("the mail server is away"))
}

#[subscribes_to(OwnerChanged, freshness_only)]
async fn do_nothing(_event: OwnerChanged) {}

#[reconciles]
async fn sweep(_scope: Scope, State(store): State<Store>) -> Result<Report, Failure> {
    let mut data = store.data();
    let right = data.owners_as_viewers();
    let added = right.difference(&data.viewers).count() as u64;
    let removed = data.viewers.difference(&right).count() as u64;
    data.viewers = right;
    Ok(Report { checked: data.owners.len() as u64, added, removed, failed: Vec::new() })
}

/// Forgets to take away from those who are no longer owners.
#[reconciles]
async fn sweep_that_forgets(_scope: Scope, State(store): State<Store>) -> Result<Report, Failure> {
    let mut data = store.data();
    let missing: Vec<_> = data.owners_as_viewers().difference(&data.viewers).cloned().collect();
    let added = missing.len() as u64;
    data.viewers.extend(missing);
    Ok(Report { added, ..Report::default() })
}

#[reconciles]
async fn sweep_with_failures(scope: Scope, state: State<Store>) -> Result<Report, Failure> {
    let report = sweep(scope, state).await?;
    Ok(Report { failed: vec![("crm".into(), "it is locked".into())], ..report })
}

#[reconciles]
async fn sweep_that_fails(_scope: Scope) -> Result<Report, Failure> {
    Err(Failure::retry("the database is away"))
}

/// Writes everything anew each time, and says so.
#[reconciles]
async fn sweep_without_rest(scope: Scope, state: State<Store>) -> Result<Report, Failure> {
    let report = sweep(scope, state).await?;
    Ok(Report { added: report.checked, ..report })
}

/// Right at first; from the second time on it takes away what is right.
#[reconciles]
async fn sweep_that_counts(scope: Scope, state: State<Store>) -> Result<Report, Failure> {
    let report = sweep(scope, State(state.0.clone())).await?;
    let mut data = state.0.data();
    data.sweeps += 1;
    if data.sweeps > 1 {
        data.viewers.clear();
    }
    Ok(report)
}

#[publishes(OwnerChanged)]
fn set_owner(session: &mut impl Session, store: &Store, system: &str, owner: &str) {
    store.data().owners.insert(system.into(), owner.into());
    publish_after_commit(session, OwnerChanged { system: system.into() }).unwrap();
}

#[publishes(OwnerChanged)]
fn take_owner_away(session: &mut impl Session, store: &Store, system: &str) {
    store.data().owners.remove(system);
    publish_after_commit(session, OwnerChanged { system: system.into() }).unwrap();
}

type World = (MemoryQueue, States);

/// Nothing is there yet.
async fn nothing(events: &Events) -> Result<World, BoxError> {
    let mut states = States::new();
    states.insert(Store::default());
    Ok((MemoryQueue::new(events), states))
}

/// Two systems have owners, of whom the events tell.
async fn two_systems(events: &Events) -> Result<World, BoxError> {
    let (queue, states) = nothing(events).await?;
    two_systems_come(&queue, &states).await?;
    Ok((queue, states))
}

async fn two_systems_come(queue: &MemoryQueue, states: &States) -> Result<(), BoxError> {
    let mut session = queue.begin();
    for (system, owner) in [("crm", "ada"), ("erp", "bob")] {
        set_owner(&mut session, &store(states), system, owner);
    }
    session.commit().await?;
    Ok(())
}

/// The owner of one system changes, that of another stays.
async fn owner_changes(queue: &MemoryQueue, states: &States) -> Result<(), BoxError> {
    let mut session = queue.begin();
    set_owner(&mut session, &store(states), "crm", "cleo");
    session.commit().await?;
    Ok(())
}

/// One system has no owner any more.
async fn owner_leaves(queue: &MemoryQueue, states: &States) -> Result<(), BoxError> {
    let mut session = queue.begin();
    take_owner_away(&mut session, &store(states), "crm");
    session.commit().await?;
    Ok(())
}

fn store(states: &States) -> Store {
    states.get::<Store>().expect("a store").clone()
}

async fn viewers(
    _queue: &MemoryQueue,
    states: &States,
) -> Result<BTreeSet<(String, String)>, BoxError> {
    Ok(store(states).data().viewers.clone())
}

fn events(registry: RegistryBuilder) -> Events {
    Events::builder().registry(registry.build().unwrap()).build().unwrap()
}

async fn refused(check: LostEvents<'_>) -> LostEventsError {
    check.check(two_systems, owner_changes, viewers).await.unwrap_err()
}

fn says(error: &LostEventsError, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

#[tokio::test]
async fn reconcilers_that_reach_what_the_events_reach_are_accepted() {
    let events = events(Registry::builder().subscriber::<follow>().reconciler::<sweep>());
    let reports = lost_events(&events).check(two_systems, owner_changes, viewers).await.unwrap();
    let [(name, report)] = reports.as_slice() else { panic!("one reconciler") };
    assert!(name.ends_with("lost_events.sweep"), "{name}");
    assert_eq!((report.checked, report.added, report.removed), (2, 1, 1));
    lost_events(&events).reconcilers(["sweep"]).assert(two_systems, owner_changes, viewers).await;
}

#[tokio::test]
async fn kill_switch_is_where_it_was_afterwards() {
    let registry = || Registry::builder().subscriber::<follow>();
    for (events, is_right) in [
        (events(registry().reconciler::<sweep>()), true),
        (events(registry().reconciler::<sweep_that_forgets>()), false),
    ] {
        for enabled in [true, false] {
            events.set_enabled(enabled);
            let checked = lost_events(&events).check(two_systems, owner_changes, viewers).await;
            assert_eq!((checked.is_ok(), events.is_enabled()), (is_right, enabled));
        }
    }
}

#[tokio::test]
async fn reconciler_that_forgets_a_case_is_refused_and_both_states_are_shown() {
    let registry = Registry::builder().subscriber::<follow>().reconciler::<sweep_that_forgets>();
    let error = refused(lost_events(&events(registry))).await;
    assert!(matches!(error, LostEventsError::NotReached { .. }), "{error}");
    says(&error, &["- by events", "+ by reconcilers", "+         \"ada\",", "\"cleo\"", "teach"]);
}

#[tokio::test]
async fn what_events_derived_before_and_the_changes_make_stale_must_be_removed() {
    let registry = Registry::builder().subscriber::<follow>();
    let events = events(registry.reconciler::<sweep>().reconciler::<sweep_that_forgets>());
    let check = || lost_events(&events).reconcilers(["sweep_that_forgets"]);
    let error = check().check(two_systems, owner_leaves, viewers).await.unwrap_err();
    assert!(matches!(error, LostEventsError::NotReached { .. }), "{error}");
    says(&error, &["+         \"crm\",", "+         \"ada\",", "          \"bob\","]);
    let right = lost_events(&events).reconcilers(["sweep"]);
    let reports = right.check(two_systems, owner_leaves, viewers).await.unwrap();
    assert_eq!((reports[0].1.added, reports[0].1.removed), (0, 1));

    // Why the world is a part of its own: where its events are lost too, nothing gets stale.
    let all_at_once = async |queue: &MemoryQueue, states: &States| {
        two_systems_come(queue, states).await?;
        owner_leaves(queue, states).await
    };
    check().assert(nothing, all_at_once, viewers).await;
}

#[tokio::test]
async fn reconciler_that_was_not_named_does_not_run() {
    let registry = Registry::builder().subscriber::<follow>();
    let events = events(registry.reconciler::<sweep>().reconciler::<sweep_that_forgets>());
    let error = refused(lost_events(&events).reconcilers(["sweep_that_forgets"])).await;
    assert!(matches!(error, LostEventsError::NotReached { .. }), "{error}");
    let error = refused(lost_events(&events).reconcilers(["swep"])).await;
    says(&error, &["no reconciler is called `swep`", "sweep_that_forgets"]);
}

#[tokio::test]
async fn scenario_whose_events_change_nothing_is_refused_unless_it_is_meant() {
    let events =
        events(Registry::builder().subscriber::<do_nothing>().reconciler::<sweep_that_forgets>());
    let unchanged = async |_: &MemoryQueue, _: &States| Ok::<_, BoxError>("as before");
    let error =
        lost_events(&events).check(two_systems, owner_changes, unchanged).await.unwrap_err();
    assert!(matches!(error, LostEventsError::NothingToRepair { .. }), "{error}");
    says(&error, &["the scenario proves nothing", "`.may_change_nothing()`", "as before"]);
    let meant = lost_events(&events).may_change_nothing();
    meant.check(two_systems, owner_changes, unchanged).await.unwrap();
}

#[tokio::test]
async fn scenario_without_a_task_is_refused() {
    let events = events(Registry::builder().reconciler::<sweep>());
    let error = refused(lost_events(&events)).await;
    assert!(matches!(error, LostEventsError::NoTasks), "{error}");
    says(&error, &["the scenario proves nothing", "do they commit"]);
}

#[tokio::test]
async fn tasks_of_the_world_do_not_count_as_those_of_the_changes() {
    let events = events(Registry::builder().subscriber::<follow>().reconciler::<sweep>());
    let unpublished = async |_: &MemoryQueue, states: &States| {
        store(states).data().owners.clear();
        Ok::<_, BoxError>(())
    };
    let error = lost_events(&events).check(two_systems, unpublished, viewers).await.unwrap_err();
    assert!(matches!(error, LostEventsError::NoTasks), "{error}");
}

#[tokio::test]
async fn handlers_must_succeed() {
    let registry = Registry::builder().subscriber::<follow>().subscriber::<fail>();
    let error = refused(lost_events(&events(registry.reconciler::<sweep>()))).await;
    says(&error, &["handlers fail", ".fail: ", "the mail server is away"]);
    let registry = Registry::builder().subscriber::<follow>().subscriber::<fail>();
    let events = events(registry.reconciler::<sweep>());
    let error = lost_events(&events).check(nothing, two_systems_come, viewers).await.unwrap_err();
    assert!(matches!(error, LostEventsError::Failed { .. }), "{error}");
}

#[tokio::test]
async fn item_that_cannot_be_reconciled_is_told() {
    let registry = Registry::builder().subscriber::<follow>().reconciler::<sweep_with_failures>();
    let error = refused(lost_events(&events(registry))).await;
    says(&error, &["sweep_with_failures` could not reconcile 1 item(s)", "crm: it is locked"]);
}

#[tokio::test]
async fn reconciler_that_fails_is_told_with_its_cause() {
    let registry = Registry::builder().subscriber::<follow>().reconciler::<sweep_that_fails>();
    let events = events(registry);
    let error = refused(lost_events(&events)).await;
    assert!(matches!(error, LostEventsError::Reconcile(_)), "{error}");
    let none = Registry::builder().subscriber::<follow>().build().unwrap();
    let none = Events::builder().registry(none).build().unwrap();
    says(&refused(lost_events(&none)).await, &["no reconciler is registered"]);
}

#[tokio::test]
async fn reconciler_that_reports_changes_again_or_makes_them_is_refused() {
    let registry = Registry::builder().subscriber::<follow>().reconciler::<sweep_without_rest>();
    let error = refused(lost_events(&events(registry))).await;
    says(&error, &["sweep_without_rest` reports changes on its second run", "added: 2"]);
    let registry = Registry::builder().subscriber::<follow>().reconciler::<sweep_that_counts>();
    let error = refused(lost_events(&events(registry))).await;
    says(&error, &["moves the state on", "after the first run", "-         \"cleo\","]);
}

#[tokio::test]
async fn tasks_that_wait_for_later_need_the_clock() {
    let clock = ManualClock::new();
    let registry = Registry::builder().subscriber::<follow_later>().reconciler::<sweep>();
    let events = Events::builder().registry(registry.build().unwrap()).clock(clock.clone());
    let events = events.build().unwrap();
    let error = refused(lost_events(&events)).await;
    says(&error, &["2 task(s) still wait", "`.clock(&clock, "]);
    let error = lost_events(&events).check(nothing, owner_changes, viewers).await.unwrap_err();
    says(&error, &["1 task(s) still wait", "`.clock(&clock, "]);
    let with_clock = lost_events(&events).clock(&clock, Duration::from_mins(5));
    with_clock.check(two_systems, owner_changes, viewers).await.unwrap();
}

#[tokio::test]
async fn both_runs_see_the_same_times() {
    let (clock, step) = (ManualClock::new(), Duration::from_mins(5));
    let registry = Registry::builder().subscriber::<follow_later>().reconciler::<sweep>();
    let events = Events::builder().registry(registry.build().unwrap()).clock(clock.clone());
    let events = events.build().unwrap();
    let (began, times) = (events.now(), Mutex::new(Vec::new()));
    let saw = |part| times.lock().unwrap().push((part, events.now().since(began)));
    let check = lost_events(&events).clock(&clock, step);
    let world = async |events: &Events| {
        saw("world");
        two_systems(events).await
    };
    let changes = async |queue: &MemoryQueue, states: &States| {
        saw("changes");
        owner_changes(queue, states).await
    };
    let state = async |queue: &MemoryQueue, states: &States| {
        saw("state");
        viewers(queue, states).await
    };
    check.check(world, changes, state).await.unwrap();
    let mut times = times.into_inner().unwrap();
    times.dedup();
    let once = [("world", Duration::ZERO), ("changes", step), ("state", step * 2)];
    assert_eq!(times, [once, once].concat());
}

#[tokio::test]
async fn changes_leave_the_switch_alone() {
    let events = events(Registry::builder().subscriber::<follow>().reconciler::<sweep>());
    let switch_on = async |queue: &MemoryQueue, states: &States| {
        events.set_enabled(true);
        owner_changes(queue, states).await
    };
    let for_a_moment = async |queue: &MemoryQueue, states: &States| {
        let was = events.is_enabled();
        switch_on(queue, states).await?;
        events.set_enabled(was);
        Ok(())
    };
    let error = lost_events(&events).check(two_systems, switch_on, viewers).await.unwrap_err();
    assert!(matches!(error, LostEventsError::NotLost), "{error}");
    let error = lost_events(&events).check(two_systems, for_a_moment, viewers).await.unwrap_err();
    assert!(matches!(error, LostEventsError::NotLost), "{error}");
    says(&error, &["are not lost", "leave the kill switch alone"]);
}

#[tokio::test]
async fn world_uses_the_events_that_it_is_given() {
    let registry = || Registry::builder().subscriber::<follow>().reconciler::<sweep>();
    let (given, other) = (events(registry()), events(registry()));
    let with_others = async |_: &Events| two_systems(&other).await;
    let error = lost_events(&given).check(with_others, owner_changes, viewers).await.unwrap_err();
    assert!(matches!(error, LostEventsError::OtherEvents), "{error}");
}

#[tokio::test]
#[should_panic(expected = "the changes of the scenario failed: the disk is full")]
async fn assertion_tells_what_the_changes_died_of() {
    let events = events(Registry::builder().subscriber::<follow>().reconciler::<sweep>());
    let die = async |_: &MemoryQueue, _: &States| Err::<(), BoxError>("the disk is full".into());
    lost_events(&events).assert(two_systems, die, viewers).await;
}

#[tokio::test]
#[should_panic(expected = "brought to where it begins: the disk is full")]
async fn assertion_tells_what_the_world_died_of() {
    let events = events(Registry::builder().subscriber::<follow>().reconciler::<sweep>());
    let dies = async |_: &Events| Err::<World, BoxError>("the disk is full".into());
    lost_events(&events).assert(dies, owner_changes, viewers).await;
}
