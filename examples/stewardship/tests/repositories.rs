//! Repositories publish what changed, and only if something did.

use events_core::Session as _;
use stewardship::database::Queue;
use stewardship::events::{
    MonitorConnectionReassigned, MonitorInheritanceFlagChanged, MonitorOperationCompleted,
    SystemConnectionLinkChanged, SystemDataStewardsChanged,
};
use stewardship::replay::open_database;
use stewardship::repositories::{
    Session, connections, links, monitor_stewards, monitors, operations, system_stewards, systems,
    users,
};

use crate::harness::Workspace;

/// A database with users `ann` and `bob`, systems `s1` and `s2`, connection `c` and monitor `m`.
async fn world() -> (Workspace, Queue) {
    let workspace = Workspace::with_log("");
    let (_, queue) = open_database(&workspace.location()).await.unwrap();
    let mut session = queue.begin().await.unwrap();
    for user in ["ann", "bob"] {
        users::create(&mut session, user).await.unwrap();
    }
    for system in ["s1", "s2"] {
        systems::create(&mut session, system).await.unwrap();
    }
    connections::create(&mut session, "c").await.unwrap();
    monitors::create(&mut session, "m", None, false).await.unwrap();
    assert!(session.pending_events().is_empty());
    session.commit().await.unwrap();
    (workspace, queue)
}

/// The events that the session has published, of this type; it must have published no others.
#[track_caller]
fn only<E: events_core::Event>(session: &Session) -> Vec<E> {
    let pending = session.pending_events().as_slice();
    pending.iter().map(|event| event.decode().expect("of this type").unwrap()).collect()
}

#[tokio::test]
async fn a_steward_is_added_and_removed_once() {
    let (_workspace, queue) = world().await;
    let mut session = queue.begin().await.unwrap();
    system_stewards::remove(&mut session, "s1", "ann").await.unwrap();
    assert!(session.pending_events().is_empty());
    for _ in 0..2 {
        system_stewards::add(&mut session, "s1", "ann").await.unwrap();
    }
    for _ in 0..2 {
        system_stewards::remove(&mut session, "s1", "ann").await.unwrap();
    }
    let event = |change: &str| SystemDataStewardsChanged {
        system_id: "s1".into(),
        user_id: "ann".into(),
        change: change.into(),
    };
    assert_eq!(only::<SystemDataStewardsChanged>(&session), [event("added"), event("removed")]);
}

#[tokio::test]
async fn setting_managed_systems_publishes_the_differences() {
    let (_workspace, queue) = world().await;
    let mut session = queue.begin().await.unwrap();
    system_stewards::set_managed_systems(&mut session, "ann", &["s1"]).await.unwrap();
    system_stewards::set_managed_systems(&mut session, "ann", &["s1", "s1"]).await.unwrap();
    system_stewards::set_managed_systems(&mut session, "ann", &["s2"]).await.unwrap();
    let told: Vec<_> = only::<SystemDataStewardsChanged>(&session)
        .into_iter()
        .map(|event| format!("{} {}", event.change, event.system_id))
        .collect();
    assert_eq!(told, ["added s1", "removed s1", "added s2"]);
}

#[tokio::test]
async fn a_link_is_made_and_undone_once() {
    let (_workspace, queue) = world().await;
    let mut session = queue.begin().await.unwrap();
    links::unlink(&mut session, "s1", "c").await.unwrap();
    for _ in 0..2 {
        links::link(&mut session, "s1", "c").await.unwrap();
    }
    for _ in 0..2 {
        links::unlink(&mut session, "s1", "c").await.unwrap();
    }
    let told: Vec<_> = only::<SystemConnectionLinkChanged>(&session)
        .into_iter()
        .map(|event| event.change)
        .collect();
    assert_eq!(told, ["added", "removed"]);
}

#[tokio::test]
async fn the_inheritance_flag_is_told_when_it_changes_and_when_it_is_on_from_the_start() {
    let (_workspace, queue) = world().await;
    let mut session = queue.begin().await.unwrap();
    for enabled in [false, true, true, false] {
        monitors::set_inheritance(&mut session, "m", enabled).await.unwrap();
    }
    monitors::create(&mut session, "born inheriting", None, true).await.unwrap();
    let told: Vec<_> = only::<MonitorInheritanceFlagChanged>(&session)
        .into_iter()
        .map(|event| (event.monitor_config_key, event.enabled))
        .collect();
    let expected = [("m", true), ("m", false), ("born inheriting", true)];
    assert_eq!(told, expected.map(|(key, enabled)| (key.to_owned(), enabled)));
}

#[tokio::test]
async fn a_connection_is_reassigned_once_also_to_none() {
    let (_workspace, queue) = world().await;
    let mut session = queue.begin().await.unwrap();
    for connection in [None, Some("c"), Some("c"), None, None] {
        monitors::reassign_connection(&mut session, "m", connection).await.unwrap();
    }
    let told: Vec<_> = only::<MonitorConnectionReassigned>(&session)
        .into_iter()
        .map(|event| event.connection_config_id)
        .collect();
    assert_eq!(told, [Some("c".to_owned()), None]);
}

#[tokio::test]
async fn every_operation_is_told() {
    let (_workspace, queue) = world().await;
    let mut session = queue.begin().await.unwrap();
    for _ in 0..2 {
        operations::complete(&mut session, "m", "check", &[]).await.unwrap();
    }
    assert_eq!(only::<MonitorOperationCompleted>(&session).len(), 2);
}

#[tokio::test]
async fn explicit_stewards_are_nobody_elses_business() {
    let (_workspace, queue) = world().await;
    let mut session = queue.begin().await.unwrap();
    for _ in 0..2 {
        monitor_stewards::add_explicit(&mut session, "m", "ann").await.unwrap();
    }
    for _ in 0..2 {
        monitor_stewards::remove_explicit(&mut session, "m", "ann").await.unwrap();
    }
    assert!(session.pending_events().is_empty());
}
