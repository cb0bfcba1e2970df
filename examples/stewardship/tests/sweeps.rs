//! Sweeps over more monitors than one page or one batch has, of which one cannot be mended.

use crate::harness::{POISON, Workspace};

/// More than two pages, each of more than one batch.
const MONITORS: usize = 4_501;

const WORLD: [&str; 6] = [
    "INSERT INTO users (id) VALUES ('ann')",
    "INSERT INTO systems (id) VALUES ('s1')",
    "INSERT INTO connection_configs (id) VALUES ('c1')",
    "INSERT INTO system_managers (user_id, system_id) VALUES ('ann', 's1')",
    "INSERT INTO system_connection_config_links (system_id, connection_config_id)
     VALUES ('s1', 'c1')",
    "INSERT INTO monitor_configs (key, connection_config_id, inherit_system_stewards)
     WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 4501)
     SELECT 'm' || n, 'c1', true FROM numbers",
];

/// Of whom nobody has told any event.
fn world() -> Workspace {
    let workspace = Workspace::with_lines(&[r#"{"op":"create_user","user_id":"first"}"#]);
    workspace.replay().assert_converged(0);
    for statement in WORLD {
        workspace.execute(statement);
    }
    workspace
}

#[test]
fn every_monitor_of_every_page_is_mended() {
    let workspace = world();
    let ended = workspace.reconcile();
    let told = format!("{MONITORS} checked, {MONITORS} added, 0 removed, 0 failed");
    assert!(ended.stdout.contains(&told), "{ended:?}");
    workspace.replay().assert_converged(0);
    let again = workspace.reconcile();
    assert!(again.stdout.contains(&format!("{MONITORS} checked, 0 added")), "{again:?}");
}

#[test]
fn a_monitor_that_cannot_be_mended_holds_up_no_other() {
    let workspace = world();
    workspace.execute_all(POISON); // of m1234
    let ended = workspace.reconcile();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let told = format!("{MONITORS} checked, {} added, 0 removed, 1 failed", MONITORS - 1);
    assert!(ended.stdout.contains(&told), "{ended:?}");
    let reason = ended.stdout.lines().find(|line| line.contains(r#""m1234": "#));
    assert!(reason.is_some_and(|line| line.contains("poisoned")), "{ended:?}");
    assert_eq!(workspace.stewards().len(), MONITORS - 1);
}

#[test]
fn statistics_that_a_clock_ahead_has_stamped_are_swept_too() {
    let workspace = Workspace::with_lines(&[
        r#"{"op":"create_monitor","key":"m","connection_config_id":null,"inherit_system_stewards":false}"#,
        r#"{"op":"operation","key":"m","operation_type":"monitor_execution"}"#,
    ]);
    workspace.replay().assert_converged(0);
    workspace.execute(
        "UPDATE monitor_aggregate_statistics
         SET muted = 7, computed_at_micros = computed_at_micros + 86400000000",
    );
    assert_eq!(workspace.reconcile().code, Some(0));
    workspace.replay().assert_converged(0);
}
