//! The README's lines, as a newcomer copies them.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use stewardship::configuration::KEYS;

use super::process::{Service, TOKEN, eventually};
use crate::harness::Workspace;

const README: &str = include_str!("../../README.md");

/// The README of the repository shows the same.
const FRONT_PAGE: &str = include_str!("../../../../README.md");

/// The lines of a page that call the service.
fn curl_lines(page: &'static str) -> Vec<&'static str> {
    let mut lines: Vec<&str> = Vec::new();
    let mut rest = page.lines().skip_while(|line| !line.starts_with("curl "));
    for line in rest.by_ref().take_while(|line| line.starts_with("curl ")) {
        lines.push(line);
    }
    lines
}

/// Runs a line as it stands there, but for the address.
fn run(line: &str, service: &Service) -> Value {
    assert!(line.contains("localhost:8080"), "{line}");
    let line = line.replace("localhost:8080", &service.address);
    let mut command = Command::new("sh");
    let output = command.args(["-c", &line]).env("STEWARDSHIP_TOKEN", TOKEN).output().unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{line}: {output:?}"))
}

/// Follows the README, and tells how long it took from the third line's answer until the fourth
/// showed the inherited steward.
fn follow() -> Duration {
    let workspace = Workspace::with_log("");
    let service = Service::start(&workspace);
    let lines = curl_lines(README);
    let [organisation, monitor, systems, stewards] = lines[..] else {
        panic!("the README has four lines: {lines:?}")
    };
    assert_eq!(run(organisation, &service)["users"][0], "ann");
    assert_eq!(run(monitor, &service)["inherit_system_stewards"], true);
    assert_eq!(run(systems, &service)["added"][0], "crm");
    let started = Instant::now();
    eventually(|| {
        let shown = run(stewards, &service);
        let inherited = serde_json::json!([{
            "user_id": "ann", "explicit": false, "inherited_from": ["crm"]
        }]);
        (shown["items"] == inherited).then_some(())
    });
    started.elapsed()
}

#[test]
fn whoever_follows_the_four_lines_sees_inherited_stewards_within_a_second() {
    // Other tests run beside it and may take the machine: of three newcomers one has it for himself.
    let mut took: Vec<Duration> = Vec::new();
    while took.len() < 3 && took.last().is_none_or(|took| *took >= Duration::from_secs(1)) {
        took.push(follow());
    }
    assert!(took.iter().any(|took| *took < Duration::from_secs(1)), "{took:?}");
}

#[test]
fn the_front_page_shows_the_same_lines() {
    assert_eq!(curl_lines(FRONT_PAGE), curl_lines(README));
}

#[test]
fn the_table_of_keys_has_every_key() {
    for (key, _) in KEYS {
        assert!(README.contains(&format!("| `{key}` ")), "`{key}` has no row");
    }
}
