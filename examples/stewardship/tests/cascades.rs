//! What is deleted takes along what refers to it, in the database, and publishes nothing. Where that
//! leaves derived rows behind, events alone leave them for ever, and a sweep mends them.

use crate::harness::{Ended, Workspace};

/// `ann` and `bob` are stewards of `s1`, which `c1` leads to; `m1` watches it, and `ann` is also its
/// steward by hand.
const WORLD: [&str; 9] = [
    r#"{"op":"create_user","user_id":"ann"}"#,
    r#"{"op":"create_user","user_id":"bob"}"#,
    r#"{"op":"create_system","system_id":"s1"}"#,
    r#"{"op":"create_connection","connection_config_id":"c1"}"#,
    r#"{"op":"create_monitor","key":"m1","connection_config_id":"c1","inherit_system_stewards":true}"#,
    r#"{"op":"link","system_id":"s1","connection_config_id":"c1"}"#,
    r#"{"op":"add_steward","system_id":"s1","user_id":"ann"}"#,
    r#"{"op":"add_steward","system_id":"s1","user_id":"bob"}"#,
    r#"{"op":"add_explicit_steward","key":"m1","user_id":"ann"}"#,
];

const INHERITED: [&str; 3] = ["m1 ann explicit", "m1 ann inherited s1", "m1 bob inherited s1"];

/// The world with everything propagated, and then one line more.
fn world_then(line: &str) -> (Workspace, Ended) {
    let workspace = Workspace::with_lines(&WORLD);
    workspace.replay().assert_converged(0);
    assert_eq!(workspace.stewards(), INHERITED);
    workspace.append(&[line]);
    let ended = workspace.replay();
    (workspace, ended)
}

/// Events alone leave these stewards, and differ from what is due; a sweep leaves those.
#[track_caller]
fn is_stale_until_swept(deletion: &str, stale: &[&str], swept: &[&str]) {
    let (workspace, ended) = world_then(deletion);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.contains("converged: no"), "{ended:?}");
    assert_eq!(workspace.stewards(), stale, "events alone leave it stale");
    let mended = workspace.replay_with(&["--reconcile-at-end"]);
    mended.assert_converged(0);
    let removed = stale.len() - swept.len();
    let told = format!("steward_inheritance: 1 checked, 0 added, {removed} removed, 0 failed");
    assert!(mended.stdout.contains(&told), "{mended:?}");
    assert_eq!(workspace.stewards(), swept, "the sweep mends it");
}

#[test]
fn what_was_inherited_from_a_deleted_system_stays_until_a_sweep() {
    let delete = r#"{"op":"delete_system","system_id":"s1"}"#;
    is_stale_until_swept(delete, &INHERITED, &["m1 ann explicit"]);
}

#[test]
fn a_monitor_outlives_its_connection_and_what_it_inherited_stays_until_a_sweep() {
    let delete = r#"{"op":"delete_connection","connection_config_id":"c1"}"#;
    is_stale_until_swept(delete, &INHERITED, &["m1 ann explicit"]);
    let (workspace, _) = world_then(delete);
    let monitors = "SELECT key || coalesce(connection_config_id, ' without') FROM monitor_configs";
    assert_eq!(workspace.rows(monitors), ["m1 without"]);
    assert_eq!(workspace.rows("SELECT system_id FROM system_connection_config_links"), [""; 0]);
}

#[test]
fn a_deleted_user_takes_every_stewardship_along_and_leaves_nothing_to_be_swept() {
    let (workspace, ended) = world_then(r#"{"op":"delete_user","user_id":"ann"}"#);
    ended.assert_converged(0);
    assert_eq!(workspace.stewards(), ["m1 bob inherited s1"]);
    assert_eq!(workspace.rows("SELECT user_id FROM system_managers"), ["bob"]);
}

#[test]
fn a_deleted_monitor_takes_all_that_was_derived_for_it_along() {
    let operation = r#"{"op":"operation","key":"m1","operation_type":"monitor_execution"}"#;
    let delete = r#"{"op":"delete_monitor","key":"m1"}"#;
    let (workspace, ended) = world_then(operation);
    ended.assert_converged(0);
    workspace.append(&[delete]);
    workspace.replay().assert_converged(0);
    assert_eq!(workspace.stewards(), [""; 0]);
    assert_eq!(workspace.rows("SELECT urn FROM staged_resources"), [""; 0]);
}

#[test]
fn a_deletion_is_no_event_and_what_is_created_anew_inherits_anew() {
    let (workspace, stale) = world_then(r#"{"op":"delete_system","system_id":"s1"}"#);
    let events = stale.number("events published");
    workspace.append(&[
        r#"{"op":"create_system","system_id":"s1"}"#,
        r#"{"op":"link","system_id":"s1","connection_config_id":"c1"}"#,
    ]);
    // The link's event has the monitor converged, and with it what the deletion left behind.
    let ended = workspace.replay();
    ended.assert_converged(0);
    assert_eq!(ended.number("events published"), events + 1);
    assert_eq!(workspace.stewards(), ["m1 ann explicit"]);
}

#[test]
fn a_line_of_the_log_sweeps_where_it_stands() {
    let workspace = Workspace::with_lines(&WORLD);
    workspace.append(&[r#"{"op":"reconcile"}"#]);
    // Nothing is dispatched, so it is this sweep that has mended what the one in the end finds right.
    let ended = workspace.replay_with(&["--without-events"]);
    ended.assert_converged(0);
    let in_the_log = "sweeps:           1 in the log: 2 checked, 2 added, 0 removed, 0 failed";
    assert!(ended.stdout.contains(in_the_log), "{ended:?}");
    assert!(ended.stdout.contains("steward_inheritance: 1 checked, 0 added"), "{ended:?}");
    assert_eq!(ended.number("lines applied"), WORLD.len() as u64 + 1);
}

#[test]
fn without_any_event_the_sweep_alone_converges() {
    let workspace = Workspace::with_lines(&WORLD);
    let ended = workspace.replay_with(&["--without-events"]);
    ended.assert_converged(0);
    assert_eq!(ended.number("tasks done"), 0);
    assert!(ended.stdout.contains("(dropped: --without-events)"), "{ended:?}");
    assert!(ended.stdout.contains("steward_inheritance: 1 checked, 2 added"), "{ended:?}");
    assert_eq!(workspace.stewards(), INHERITED);
    assert_eq!(ended.stderr.matches("event dropped").count(), 0, "what was asked for is no news");
}

#[test]
fn what_is_deleted_must_be_there() {
    for line in [
        r#"{"op":"delete_user","user_id":"x"}"#,
        r#"{"op":"delete_system","system_id":"x"}"#,
        r#"{"op":"delete_connection","connection_config_id":"x"}"#,
        r#"{"op":"delete_monitor","key":"x"}"#,
        r#"{"op":"transaction","rollback":false,"ops":[{"op":"reconcile"}]}"#,
    ] {
        let (_, ended) = world_then(line);
        ended.assert_converged(2);
        assert_eq!(ended.number("lines refused"), 1, "{ended:?}");
    }
}

#[test]
fn a_monitor_that_is_not_there_is_told_by_a_sweep_of_given_ones() {
    let workspace = Workspace::with_lines(&WORLD);
    workspace.replay().assert_converged(0);
    let ended = workspace.reconcile_these(&["m1", "m9"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.contains("2 checked, 0 added, 0 removed, 1 failed"), "{ended:?}");
    assert!(ended.stdout.contains(r#""m9": there is no monitor of this key"#), "{ended:?}");
}
