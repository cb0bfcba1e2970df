//! Lines that are refused: reported with their number and the reason, and the rest goes on.

use crate::harness::{Ended, Workspace};

/// Creates `u`, `s`, `c` and `m`, so that the line to be refused is the fifth.
const WORLD: &str = r#"{"op":"create_user","user_id":"u"}
{"op":"create_system","system_id":"s"}
{"op":"create_connection","connection_config_id":"c"}
{"op":"create_monitor","key":"m","connection_config_id":null,"inherit_system_stewards":true}
"#;

/// Replays the world, the line, and one more line that must be applied.
fn replay_with(line: &[u8]) -> (Workspace, Ended) {
    let log = [WORLD.as_bytes(), line, b"\n{\"op\":\"create_user\",\"user_id\":\"last\"}"].concat();
    let workspace = Workspace::with_log(log);
    let ended = workspace.replay();
    (workspace, ended)
}

#[track_caller]
fn refused(line: impl AsRef<[u8]>, reason: &str) {
    let (workspace, ended) = replay_with(line.as_ref());
    ended.assert_converged(2);
    assert_eq!(ended.number("lines refused"), 1);
    assert_eq!(ended.number("lines applied"), 5);
    let told = ended.stderr.lines().find(|line| line.starts_with("line 5 refused: "));
    assert!(told.is_some_and(|line| line.contains(reason)), "{reason:?} is not told: {ended:?}");
    assert_eq!(workspace.rows("SELECT id FROM users ORDER BY id"), ["last", "u"]);
}

#[test]
fn what_is_not_json_is_refused() {
    refused("garbage", "not JSON: expected value (column 1)");
    refused(r#"{"op":"create_user","#, "not JSON: EOF");
    refused(r#"{"op":"create_user","user_id":"x"} trailing"#, "not JSON: trailing characters");
    refused("", "the line is empty");
    refused("   \t", "the line is empty");
    refused(b"{\"op\":\"create_user\",\"user_id\":\"\xff\"}", "not UTF-8: byte 32");
    refused("[".repeat(100_000), "not JSON: recursion limit exceeded");
}

#[test]
fn what_is_no_object_with_an_op_is_refused() {
    refused("[]", "expected a JSON object with the field `op`, found a list");
    refused("null", "found null");
    refused("{}", "lacks the field `op`");
    refused(r#"{"op":5}"#, "the field `op` must be a string, found a number");
    refused(r#"{"op":"create_usr","user_id":"x"}"#, r#"unknown op "create_usr"; known are"#);
}

#[test]
fn a_field_that_is_lacking_wrong_or_double_is_refused() {
    refused(r#"{"op":"create_user"}"#, "lacks the field `user_id`");
    refused(r#"{"op":"create_user","user":"x"}"#, r#"lacks the field `user_id` (but has "user")"#);
    refused(r#"{"op":"create_user","user_id":7}"#, "must be a string, found a number");
    refused(r#"{"op":"create_user","user_id":null}"#, "must be a string, found null");
    refused(
        r#"{"op":"create_user","user_id":"x","user_id":"y"}"#,
        r#"the field "user_id" stands twice"#,
    );
    refused(
        r#"{"op":"create_monitor","key":"n","inherit_system_stewards":true}"#,
        "lacks the field `connection_config_id`",
    );
    refused(r#"{"op":"set_inheritance","key":"m","enabled":"yes"}"#, "must be true or false");
    refused(
        r#"{"op":"set_managed_systems","user_id":"u","system_ids":["s",1]}"#,
        "must be a list of strings, found a number",
    );
    refused(r#"{"op":"link","system_id":"s","connection_config_id":null}"#, "found null");
    refused(r#"{"op":"transaction","ops":[]}"#, "lacks the field `rollback`");
}

#[test]
fn what_has_no_name_is_refused() {
    refused(r#"{"op":"create_user","user_id":""}"#, "the name of a user is not empty");
    refused(
        r#"{"op":"create_monitor","key":"","connection_config_id":null,"inherit_system_stewards":true}"#,
        "the name of a monitor is not empty",
    );
}

#[test]
fn what_names_something_unknown_is_refused() {
    refused(r#"{"op":"add_steward","system_id":"x","user_id":"u"}"#, r#"system "x" is unknown"#);
    refused(r#"{"op":"add_steward","system_id":"s","user_id":"x"}"#, r#"user "x" is unknown"#);
    refused(r#"{"op":"remove_steward","system_id":"s","user_id":"x"}"#, r#"user "x" is unknown"#);
    refused(r#"{"op":"remove_steward","system_id":"x","user_id":"u"}"#, r#"system "x""#);
    refused(
        r#"{"op":"set_managed_systems","user_id":"u","system_ids":["s","x"]}"#,
        r#"system "x" is unknown"#,
    );
    refused(r#"{"op":"set_managed_systems","user_id":"x","system_ids":[]}"#, r#"user "x""#);
    refused(r#"{"op":"link","system_id":"x","connection_config_id":"c"}"#, r#"system "x""#);
    refused(r#"{"op":"link","system_id":"s","connection_config_id":"x"}"#, r#"connection "x""#);
    refused(r#"{"op":"unlink","system_id":"s","connection_config_id":"x"}"#, r#"connection "x""#);
    refused(r#"{"op":"set_inheritance","key":"x","enabled":true}"#, r#"monitor "x" is unknown"#);
    refused(r#"{"op":"set_inheritance","key":"x","enabled":false}"#, r#"monitor "x" is unknown"#);
    refused(
        r#"{"op":"reassign_connection","key":"x","connection_config_id":null}"#,
        r#"monitor "x" is unknown"#,
    );
    refused(
        r#"{"op":"reassign_connection","key":"m","connection_config_id":"x"}"#,
        r#"connection "x" is unknown"#,
    );
    refused(r#"{"op":"add_explicit_steward","key":"x","user_id":"u"}"#, r#"monitor "x""#);
    refused(r#"{"op":"add_explicit_steward","key":"m","user_id":"x"}"#, r#"user "x""#);
    refused(r#"{"op":"remove_explicit_steward","key":"m","user_id":"x"}"#, r#"user "x""#);
    refused(r#"{"op":"operation","key":"x","operation_type":"check"}"#, r#"monitor "x""#);
    refused(
        r#"{"op":"create_monitor","key":"n","connection_config_id":"x","inherit_system_stewards":true}"#,
        r#"connection "x" is unknown"#,
    );
}

#[test]
fn what_exists_is_not_created_again() {
    refused(r#"{"op":"create_user","user_id":"u"}"#, r#"user "u" exists already"#);
    refused(r#"{"op":"create_system","system_id":"s"}"#, r#"system "s" exists already"#);
    refused(r#"{"op":"create_connection","connection_config_id":"c"}"#, r#"connection "c" exists"#);
    refused(
        r#"{"op":"create_monitor","key":"m","connection_config_id":"c","inherit_system_stewards":false}"#,
        r#"monitor "m" exists already"#,
    );
}

#[test]
fn a_transaction_is_refused_as_a_whole() {
    let unknown = r#"{"op":"transaction","rollback":false,"ops":[{"op":"create_user","user_id":"new"},{"op":"add_steward","system_id":"x","user_id":"new"}]}"#;
    refused(unknown, r#"system "x" is unknown"#);
    refused(unknown.replace("false", "true"), r#"system "x" is unknown"#);
    refused(
        r#"{"op":"transaction","rollback":false,"ops":[{"op":"create_user","user_id":"new"},{"op":"nonsense"}]}"#,
        r#"operation 2 of the transaction: unknown op "nonsense""#,
    );
    refused(
        r#"{"op":"transaction","rollback":false,"ops":[{"op":"transaction","rollback":false,"ops":[]}]}"#,
        "operation 1 of the transaction: a transaction cannot stand in a transaction",
    );
}

#[test]
fn what_is_too_large_is_refused() {
    let long = "x".repeat(70_000);
    refused(
        format!(r#"{{"op":"operation","key":"m","operation_type":"{long}"}}"#),
        "bytes of JSON and the limit is 65536",
    );
    refused(vec![b'x'; (16 << 20) + 1], "longer than 16 MiB");
}

#[test]
fn a_flood_of_refusals_is_counted_and_told_in_part() {
    let workspace = Workspace::with_log("nonsense\n".repeat(60));
    let ended = workspace.replay();
    ended.assert_converged(2);
    assert_eq!(ended.number("lines refused"), 60);
    assert_eq!(ended.stderr.matches(" refused: ").count(), 20);
    assert!(ended.stderr.contains("40 more lines refused; --verbose tells all"), "{ended:?}");
    let again = workspace.replay();
    again.assert_converged(2); // refusals of earlier runs count
    let fresh = Workspace::with_log("nonsense\n".repeat(60));
    let all = Ended::from(fresh.command(&["--verbose"]).output().unwrap());
    assert_eq!(all.stderr.matches(" refused: ").count(), 60);
}

#[test]
fn further_fields_and_foreign_line_ends_are_accepted() {
    let log = "{\"op\":\"create_user\",\"user_id\":\"u\",\"at\":{\"y\":[1,2.5,null]}}\r\n";
    let workspace = Workspace::with_log(log);
    workspace.replay().assert_converged(0);
    assert_eq!(workspace.rows("SELECT id FROM users"), ["u"]);
}
