//! The statistics of monitors: what operations do, how seldom they are computed, and how fresh they
//! are.

use crate::harness::Workspace;

const MONITOR: &str = r#"{"op":"create_monitor","key":"m","connection_config_id":null,"inherit_system_stewards":false}"#;

fn operation(of_type: &str) -> String {
    format!(r#"{{"op":"operation","key":"m","operation_type":"{of_type}"}}"#)
}

/// `urn status` of every resource, and the numbers of the statistics, after these operations.
fn after(operations: &[&str]) -> (Vec<String>, String) {
    let mut lines = vec![MONITOR.to_owned()];
    lines.extend(operations.iter().map(|of_type| operation(of_type)));
    let workspace = Workspace::with_log(lines.join("\n"));
    workspace.replay().assert_converged(0);
    let resources =
        workspace.rows("SELECT urn || ' ' || status FROM staged_resources ORDER BY urn");
    let mut statistics = workspace.rows(
        "SELECT addition || ' ' || classified || ' ' || reviewed || ' ' || confirmed || ' '
             || promoted || ' ' || muted || ' of ' || operations
         FROM monitor_aggregate_statistics",
    );
    (resources, statistics.pop().expect("there are some"))
}

#[test]
fn operations_move_what_executions_have_found() {
    let (resources, statistics) = after(&["monitor_execution", "monitor_execution", "classify"]);
    assert_eq!(resources, ["m/1 classified", "m/2 classified"]);
    assert_eq!(statistics, "0 2 0 0 0 0 of 3");
    let way = ["monitor_execution", "classify", "review", "confirm", "promote"];
    assert_eq!(after(&way).1, "0 0 0 0 1 0 of 5");
    let muted = ["monitor_execution", "mute", "monitor_execution", "promote", "mute", "unmute"];
    assert_eq!(after(&muted).1, "2 0 0 0 0 0 of 6");
    assert_eq!(after(&["promote", "what no one knows"]).1, "0 0 0 0 0 0 of 2");
}

#[test]
fn a_burst_is_computed_once_and_fresh_within_the_window() {
    let mut lines = vec![MONITOR.to_owned()];
    lines.extend((0..400).map(|_| operation("monitor_execution")));
    let workspace = Workspace::with_log(lines.join("\n"));
    let ended = workspace.replay();
    ended.assert_converged(0);
    assert_eq!(ended.number("events published"), 400);
    // Once for each thirty seconds that the log takes to apply, and once in the end.
    let computed = ended.number("tasks debounced");
    assert!((1..=5).contains(&computed), "{computed} of 400: {ended:?}");
    let delays = workspace.rows(
        "SELECT CAST((computed_at_micros - last_completed_at_micros) / 1000 AS TEXT)
         FROM monitor_aggregate_statistics",
    );
    let delay: u64 = delays[0].parse().unwrap();
    // The window is a second. The rest is a machine that may be busy with other tests.
    assert!((900..20_000).contains(&delay), "{delay} ms");
    assert!(ended.stdout.contains("statistics:       of 1 monitors, computed p50"), "{ended:?}");
}

#[test]
fn sweeps_find_nothing_to_mend_where_events_have_come_through() {
    let lines = [MONITOR.to_owned(), operation("monitor_execution"), operation("classify")];
    let workspace = Workspace::with_log(lines.join("\n"));
    let ended = workspace.replay_with(&["--reconcile-at-end"]);
    ended.assert_converged(0);
    for reconciler in ["steward_inheritance", "aggregate_statistics"] {
        let nothing = format!("{reconciler}: 1 checked, 0 added, 0 removed, 0 failed");
        assert!(ended.stdout.contains(&nothing), "{ended:?}");
    }
    // Told as the events have left it: the sweep has looked at the statistics since.
    let told = ended.stdout.split("at most ").nth(1).unwrap();
    let told: u64 = told.split(' ').next().unwrap().parse().unwrap();
    assert!((900..20_000).contains(&told), "{ended:?}");
}

#[test]
fn lost_statistics_are_reported_and_a_sweep_computes_them() {
    let lines = [MONITOR.to_owned(), operation("monitor_execution"), operation("mute")];
    let workspace = Workspace::with_log(lines.join("\n"));
    let ended = workspace.replay_with(&["--without-events"]);
    ended.assert_converged(0);
    assert!(ended.stdout.contains("aggregate_statistics: 1 checked, 1 added"), "{ended:?}");
    workspace.execute("UPDATE monitor_aggregate_statistics SET muted = 7");
    let differs = workspace.replay();
    assert_eq!(differs.code, Some(1), "{differs:?}");
    assert!(differs.stdout.contains(r#"monitor "m": 2 operations, 1 muted"#), "{differs:?}");
    assert_eq!(workspace.reconcile().code, Some(0));
    workspace.replay().assert_converged(0);
}
