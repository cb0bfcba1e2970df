//! A request and the events that it published are joined in the log.

use serde_json::json;

use super::process::Service;
use crate::harness::Workspace;

#[test]
fn the_id_of_a_request_stands_beside_those_of_its_events_and_leads_to_their_handlers() {
    let workspace = Workspace::with_log("");
    let filter = "info,events_core::events=debug,events_runtime::execute=debug";
    let service =
        Service::start_with(&workspace, &[("STEWARDSHIP_LOG__FILTER", filter)]).with_organisation();
    let body = json!({ "system_ids": ["crm"] }).to_string();
    let headers = [("content-type", "application/json"), ("x-request-id", "from-a-proxy_1.2")];
    let answer = service.send_text("PUT", "/users/ann/systems", &headers, &body);
    answer.assert(200);
    assert_eq!(answer.header("x-request-id"), "from-a-proxy_1.2");

    let of_request = |line: &serde_json::Value| line["span"]["request_id"] == "from-a-proxy_1.2";
    let dispatched = service.process.line("event dispatched", of_request);
    assert_eq!(dispatched["span"]["path"], "/users/ann/systems");
    let event = dispatched["fields"]["event_id"].as_str().unwrap().to_owned();
    let handled = super::process::eventually(|| {
        let lines = service.process.lines();
        let of_event = |line: &serde_json::Value| line["fields"]["event_id"] == *event;
        lines.into_iter().find(|line| of_event(line) && line["fields"]["outcome"] == "completed")
    });
    assert_eq!(handled["fields"]["subscriber"], dispatched["fields"]["subscriber"]);
}

#[test]
fn without_configuration_the_line_that_joins_them_is_there() {
    let workspace = Workspace::with_log("");
    let service = Service::start(&workspace).with_organisation();
    let joins = |line: &serde_json::Value| {
        line["span"]["request_id"].is_string() && line["fields"]["event_id"].is_string()
    };
    service.process.line("event dispatched", joins);
}

#[test]
fn an_id_that_would_spoil_the_log_is_replaced() {
    let workspace = Workspace::with_log("");
    let service = Service::start(&workspace);
    let long = "x".repeat(129);
    let mut ids = Vec::new();
    for id in ["", "two words", "quote\"", "scheme:path", &long] {
        let answer = service.send_text("GET", "/users", &[("x-request-id", id)], "");
        let given = answer.header("x-request-id").to_owned();
        assert!(given != id && given.len() == 36, "{given}");
        assert!(!ids.contains(&given), "{given} twice");
        ids.push(given);
    }
}
