//! Small organisations, each about one rule: which derived rows a log leaves.

use crate::harness::Workspace;

/// A user `ann`, a system `s1` that she stewards, linked to `c1`, and the monitor `m1` upon it.
const INHERITED: [&str; 6] = [
    r#"{"op":"create_user","user_id":"ann"}"#,
    r#"{"op":"create_system","system_id":"s1"}"#,
    r#"{"op":"create_connection","connection_config_id":"c1"}"#,
    r#"{"op":"create_monitor","key":"m1","connection_config_id":"c1","inherit_system_stewards":true}"#,
    r#"{"op":"link","system_id":"s1","connection_config_id":"c1"}"#,
    r#"{"op":"add_steward","system_id":"s1","user_id":"ann"}"#,
];

/// The rows after these lines, on top of [`INHERITED`].
#[track_caller]
fn stewards_after(lines: &[&str]) -> Vec<String> {
    let all: Vec<_> = INHERITED.iter().chain(lines).copied().collect();
    let workspace = Workspace::with_lines(&all);
    let ended = workspace.replay();
    ended.assert_converged(0);
    assert_eq!(ended.number("lines applied"), all.len() as u64);
    assert_eq!(ended.number("tasks dead"), 0);
    workspace.stewards()
}

#[test]
fn a_monitor_inherits_the_steward_of_the_system_it_watches() {
    assert_eq!(stewards_after(&[]), ["m1 ann inherited s1"]);
}

#[test]
fn a_steward_who_leaves_is_inherited_no_more() {
    let lines = [r#"{"op":"remove_steward","system_id":"s1","user_id":"ann"}"#];
    assert_eq!(stewards_after(&lines), [""; 0]);
}

#[test]
fn each_system_of_a_connection_is_a_source_of_its_own() {
    let lines = [
        r#"{"op":"create_user","user_id":"bob"}"#,
        r#"{"op":"create_system","system_id":"s2"}"#,
        r#"{"op":"link","system_id":"s2","connection_config_id":"c1"}"#,
        r#"{"op":"add_steward","system_id":"s2","user_id":"ann"}"#,
        r#"{"op":"add_steward","system_id":"s2","user_id":"bob"}"#,
        r#"{"op":"remove_steward","system_id":"s1","user_id":"ann"}"#,
    ];
    assert_eq!(stewards_after(&lines), ["m1 ann inherited s2", "m1 bob inherited s2"]);
}

#[test]
fn every_monitor_of_a_connection_inherits() {
    let lines = [
        r#"{"op":"create_monitor","key":"m2","connection_config_id":"c1","inherit_system_stewards":true}"#,
        r#"{"op":"create_monitor","key":"m3","connection_config_id":"c1","inherit_system_stewards":false}"#,
    ];
    assert_eq!(stewards_after(&lines), ["m1 ann inherited s1", "m2 ann inherited s1"]);
}

#[test]
fn an_explicit_steward_stands_beside_the_inherited_and_outlives_it() {
    let add = r#"{"op":"add_explicit_steward","key":"m1","user_id":"ann"}"#;
    assert_eq!(stewards_after(&[add]), ["m1 ann explicit", "m1 ann inherited s1"]);
    let off = r#"{"op":"set_inheritance","key":"m1","enabled":false}"#;
    assert_eq!(stewards_after(&[add, off]), ["m1 ann explicit"]);
    let remove = r#"{"op":"remove_explicit_steward","key":"m1","user_id":"ann"}"#;
    assert_eq!(stewards_after(&[add, remove]), ["m1 ann inherited s1"]);
}

#[test]
fn the_flag_flips_back_and_forth() {
    let off = r#"{"op":"set_inheritance","key":"m1","enabled":false}"#;
    let on = r#"{"op":"set_inheritance","key":"m1","enabled":true}"#;
    assert_eq!(stewards_after(&[off]), [""; 0]);
    assert_eq!(stewards_after(&[off, on]), ["m1 ann inherited s1"]);
    assert_eq!(stewards_after(&[off, on, off]), [""; 0]);
}

#[test]
fn a_reassigned_monitor_inherits_from_what_it_watches_now() {
    let prepare = [
        r#"{"op":"create_user","user_id":"bob"}"#,
        r#"{"op":"create_system","system_id":"s2"}"#,
        r#"{"op":"create_connection","connection_config_id":"c2"}"#,
        r#"{"op":"link","system_id":"s2","connection_config_id":"c2"}"#,
        r#"{"op":"add_steward","system_id":"s2","user_id":"bob"}"#,
    ];
    let there = r#"{"op":"reassign_connection","key":"m1","connection_config_id":"c2"}"#;
    let nowhere = r#"{"op":"reassign_connection","key":"m1","connection_config_id":null}"#;
    let after = |last: &[&str]| stewards_after(&[&prepare, last].concat());
    assert_eq!(after(&[there]), ["m1 bob inherited s2"]);
    assert_eq!(after(&[nowhere]), [""; 0]);
    assert_eq!(after(&[nowhere, there]), ["m1 bob inherited s2"]);
}

#[test]
fn a_monitor_without_connection_inherits_nothing() {
    let lines = [
        r#"{"op":"create_monitor","key":"m2","connection_config_id":null,"inherit_system_stewards":true}"#,
    ];
    assert_eq!(stewards_after(&lines), ["m1 ann inherited s1"]);
}

#[test]
fn an_unlinked_system_passes_its_stewards_on_no_more() {
    let unlink = r#"{"op":"unlink","system_id":"s1","connection_config_id":"c1"}"#;
    let link = r#"{"op":"link","system_id":"s1","connection_config_id":"c1"}"#;
    assert_eq!(stewards_after(&[unlink]), [""; 0]);
    assert_eq!(stewards_after(&[unlink, link]), ["m1 ann inherited s1"]);
}

#[test]
fn set_managed_systems_changes_exactly_what_differs() {
    let lines = [
        r#"{"op":"create_system","system_id":"s2"}"#,
        r#"{"op":"create_system","system_id":"s3"}"#,
        r#"{"op":"link","system_id":"s2","connection_config_id":"c1"}"#,
        r#"{"op":"link","system_id":"s3","connection_config_id":"c1"}"#,
        r#"{"op":"add_steward","system_id":"s2","user_id":"ann"}"#,
        r#"{"op":"set_managed_systems","user_id":"ann","system_ids":["s2","s3","s3"]}"#,
    ];
    assert_eq!(stewards_after(&lines), ["m1 ann inherited s2", "m1 ann inherited s3"]);
    let none = [r#"{"op":"set_managed_systems","user_id":"ann","system_ids":[]}"#];
    assert_eq!(stewards_after(&none), [""; 0]);
}

#[test]
fn a_transaction_takes_effect_as_a_whole() {
    let lines = [
        r#"{"op":"transaction","rollback":false,"ops":[{"op":"create_user","user_id":"bob"},{"op":"add_steward","system_id":"s1","user_id":"bob"},{"op":"remove_steward","system_id":"s1","user_id":"ann"}]}"#,
    ];
    assert_eq!(stewards_after(&lines), ["m1 bob inherited s1"]);
}

#[test]
fn a_transaction_that_is_rolled_back_leaves_and_publishes_nothing() {
    let rolled_back = r#"{"op":"transaction","rollback":true,"ops":[{"op":"create_user","user_id":"bob"},{"op":"add_steward","system_id":"s1","user_id":"bob"},{"op":"set_inheritance","key":"m1","enabled":false}]}"#;
    let lines: Vec<_> = INHERITED.iter().copied().chain([rolled_back]).collect();
    let (with, without) = (Workspace::with_lines(&lines), Workspace::with_lines(&INHERITED));
    let (after, before) = (with.replay(), without.replay());
    after.assert_converged(0);
    assert_eq!(after.number("lines applied"), 7);
    assert_eq!(after.number("events published"), before.number("events published"));
    assert_eq!(with.everything(), without.everything());
}

#[test]
fn a_lost_row_is_reported_and_the_reconciler_brings_it_back() {
    let workspace = Workspace::with_lines(&INHERITED);
    workspace.replay().assert_converged(0);
    assert_eq!(workspace.execute("DELETE FROM monitor_stewards"), 1);
    let differs = workspace.replay();
    assert_eq!(differs.code, Some(1), "{differs:?}");
    assert!(differs.stdout.contains("converged: no"), "{differs:?}");
    assert!(differs.stdout.contains(r#"monitor "m1" inherits "ann" from "s1""#), "{differs:?}");
    let reconciled = workspace.reconcile();
    assert_eq!(reconciled.code, Some(0), "{reconciled:?}");
    assert!(
        reconciled.stdout.contains("1 checked, 1 added, 0 removed, 0 failed"),
        "{reconciled:?}"
    );
    workspace.replay().assert_converged(0);
    assert_eq!(workspace.stewards(), ["m1 ann inherited s1"]);
}

#[test]
fn a_row_that_is_not_due_is_reported_and_the_reconciler_removes_it() {
    let workspace = Workspace::with_lines(&INHERITED);
    workspace.replay().assert_converged(0);
    workspace.execute("DELETE FROM system_managers");
    let differs = workspace.replay();
    assert_eq!(differs.code, Some(1), "{differs:?}");
    assert!(differs.stdout.contains("not due: 1"), "{differs:?}");
    assert_eq!(workspace.reconcile().code, Some(0));
    workspace.replay().assert_converged(0);
}
