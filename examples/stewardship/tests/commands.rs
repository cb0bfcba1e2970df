//! The commands besides the replay, the wiring, and how mistakes on the command line end.

use std::fs;

use events_core::{Event, Registry};
use stewardship::events::{
    MonitorConnectionReassigned, MonitorInheritanceFlagChanged, MonitorOperationCompleted,
    SystemConnectionLinkChanged, SystemDataStewardsChanged,
};
use stewardship::generate::{BUNDLED, Plan};

use crate::harness::{Workspace, run};

const EVENTS: [&str; 5] = [
    MonitorConnectionReassigned::NAME,
    MonitorInheritanceFlagChanged::NAME,
    MonitorOperationCompleted::NAME,
    SystemConnectionLinkChanged::NAME,
    SystemDataStewardsChanged::NAME,
];

#[test]
fn publishers_and_subscribers_match() {
    events_testing::coverage(Registry::linked().unwrap())
        .deny_unchecked()
        .require_reconcilers()
        .assert();
}

#[test]
fn the_catalog_lists_every_event_with_its_publishers_and_tasks() {
    let ended = run(&["catalog"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for event in EVENTS {
        assert!(ended.stdout.contains(event), "{event} is missing: {ended:?}");
        assert!(ended.stdout.contains(&format!("events.{event}.stewardship.propagation.")));
    }
    assert!(ended.stdout.contains("stewardship::repositories::monitors::create"));
    assert!(ended.stdout.contains("no findings"), "{ended:?}");
}

#[test]
fn the_catalog_is_also_data() {
    let ended = run(&["catalog", "--json"]);
    let catalog: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let events = catalog["events"].as_array().unwrap();
    assert_eq!(events.iter().map(|event| &event["name"]).collect::<Vec<_>>(), EVENTS);
    for event in events {
        assert_eq!(event["subscribers"].as_array().unwrap().len(), 1);
        assert!(!event["publishers"].as_array().unwrap().is_empty());
    }
    assert_eq!(catalog["findings"], serde_json::json!([]));
}

#[test]
fn the_bundled_log_is_what_the_generator_makes() {
    let text = Plan::default().text().unwrap();
    assert!(text.as_bytes() == BUNDLED, "run `stewardship generate --output` on the bundled file");
    assert!(text.lines().count() >= 20_000);
    for (op, at_least) in [("create_user", 120), ("create_system", 300), ("create_monitor", 1_000)]
    {
        assert!(text.matches(&format!(r#""op":"{op}""#)).count() >= at_least);
    }
}

#[test]
fn another_seed_makes_another_log_that_is_as_sound() {
    let plan = ["--seed", "7", "--lines", "400", "--users", "9", "--systems", "12"];
    let more = ["--connections", "8", "--monitors", "40"];
    let arguments = [&["generate"], plan.as_slice(), more.as_slice()].concat();
    let (one, two) = (run(&arguments), run(&arguments));
    assert_eq!(one.stdout, two.stdout);
    assert_eq!(one.stdout.lines().count(), 400);
    assert!(!BUNDLED.starts_with(one.stdout.as_bytes()));
    let ended = Workspace::with_log(one.stdout).replay();
    ended.assert_converged(0);
    assert_eq!(ended.number("lines refused"), 0);
}

#[test]
fn mistakes_on_the_command_line_are_not_taken_for_refused_lines() {
    for arguments in
        [&["replay", "--nonsense"] as &[_], &["nonsense"], &["replay", "--workers", "0"]]
    {
        assert_eq!(run(arguments).code, Some(64), "{arguments:?}");
    }
    assert_eq!(run(&["generate", "--lines", "5"]).code, Some(64));
    assert_eq!(run(&["--help"]).code, Some(0));
}

#[test]
fn a_log_that_cannot_be_read_is_told() {
    let workspace = Workspace::with_log("");
    let database = workspace.database.location();
    let missing = run(&["replay", "no/such/log.jsonl", "--database", &database]);
    assert_eq!(missing.code, Some(66), "{missing:?}");
    assert!(missing.stderr.contains("no/such/log.jsonl"), "{missing:?}");
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().to_str().unwrap();
    assert_eq!(run(&["replay", directory, "--database", &database]).code, Some(66));
}

#[test]
fn another_log_than_the_one_begun_is_refused() {
    let workspace = Workspace::with_lines(&[r#"{"op":"create_user","user_id":"u"}"#]);
    workspace.replay().assert_converged(0);
    fs::write(workspace.path("log.jsonl"), r#"{"op":"create_user","user_id":"v"}"#).unwrap();
    let other = workspace.replay();
    assert_eq!(other.code, Some(66), "{other:?}");
    assert!(other.stderr.contains("give the log that was begun, or another --database"));
    assert_eq!(workspace.rows("SELECT id FROM users"), ["u"]);
}

#[test]
fn a_log_that_has_grown_goes_on_where_it_ended() {
    let first = r#"{"op":"create_user","user_id":"u"}"#;
    let workspace = Workspace::with_lines(&[first]);
    workspace.replay().assert_converged(0);
    let more = format!("{first}\n{}\n", r#"{"op":"create_user","user_id":"v"}"#);
    fs::write(workspace.path("log.jsonl"), more).unwrap();
    let ended = workspace.replay();
    ended.assert_converged(0);
    assert_eq!(ended.number("lines applied"), 2);
    assert_eq!(workspace.rows("SELECT id FROM users ORDER BY id"), ["u", "v"]);
}
