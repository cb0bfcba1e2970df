//! The sweep on demand, and what is told of the sweeps that come by themselves.

use serde_json::json;

use super::process::Service;
use crate::harness::Workspace;

const RECONCILE: &str = "/discovery-monitor/stewardship/reconcile";

/// Two monitors that inherit `ann`, whose rows are gone.
fn with_lost_rows(workspace: &Workspace) -> Service {
    let service = Service::start(workspace).with_organisation();
    let monitor = json!({ "key": "returns", "connection_config_id": "dwh",
        "inherit_system_stewards": true });
    service.post("/monitors", &monitor).assert(201);
    service.put("/users/ann/systems", &json!({ "system_ids": ["crm"] })).assert(200);
    for monitor in ["orders", "returns"] {
        service.wait_for_stewards(monitor, &["ann crm"]);
    }
    assert_eq!(workspace.execute("DELETE FROM monitor_stewards"), 2);
    service
}

#[test]
fn an_empty_body_sweeps_all_monitors_before_it_answers() {
    for headers in [&[] as &[_], &[("content-type", "application/json")]] {
        let workspace = Workspace::with_log("");
        let service = with_lost_rows(&workspace);
        let report = service.send_text("POST", RECONCILE, headers, "");
        let expected = json!({ "checked": 2, "added": 2, "removed": 0, "failed": [] });
        assert_eq!(*report.assert(200), expected);
        for monitor in ["orders", "returns"] {
            assert_eq!(service.stewards(monitor), ["ann crm"]);
        }
        let again = service.send_text("POST", RECONCILE, headers, "");
        assert_eq!(again.assert(200)["added"], 0);
    }
}

#[test]
fn keys_are_swept_alone_and_unknown_ones_are_reported() {
    let workspace = Workspace::with_log("");
    let service = with_lost_rows(&workspace);
    let keys = json!({ "monitor_config_keys": ["returns", "nowhere"] });
    let report = service.post(RECONCILE, &keys);
    let failed = json!([{ "monitor_config_key": "nowhere",
        "reason": "there is no monitor of this key" }]);
    assert_eq!(
        *report.assert(200),
        json!({ "checked": 2, "added": 1, "removed": 0, "failed": failed })
    );
    assert_eq!(service.stewards("returns"), ["ann crm"]);
    assert!(service.stewards("orders").is_empty());
    let none = service.post(RECONCILE, &json!({ "monitor_config_keys": [] }));
    assert_eq!(none.assert(200)["checked"], 0, "none is not all");
}

#[test]
fn a_body_that_asks_for_something_else_is_refused() {
    let workspace = Workspace::with_log("");
    let service = with_lost_rows(&workspace);
    service.post(RECONCILE, &json!({ "monitor_keys": ["orders"] })).assert_problem(422);
    service.post(RECONCILE, &json!({ "monitor_config_keys": "orders" })).assert_problem(422);
    service.send_text("POST", RECONCILE, &[], "{").assert_problem(400);
    assert!(service.stewards("orders").is_empty(), "nothing was swept");
}

#[test]
fn a_sweep_on_demand_does_not_wait_for_the_cadence_nor_move_it() {
    let workspace = Workspace::with_log("");
    let service =
        Service::start_with(&workspace, &[("STEWARDSHIP_INHERITANCE_SWEEP_MINUTES", "1440")]);
    let inheritance = || {
        let listed = service.get("/reconcilers").assert(200).clone();
        let items = listed["items"].as_array().unwrap().clone();
        let of_stewards = |item: &serde_json::Value| {
            item["name"].as_str().unwrap().ends_with("steward_inheritance")
        };
        items.into_iter().find(of_stewards).unwrap()
    };
    let before = super::process::eventually(|| {
        let state = inheritance();
        state["next_at"].is_string().then_some(state)
    });
    assert_eq!(before["every_seconds"], 24 * 60 * 60);
    assert_eq!(before["started_at"], json!(null));
    service.send_text("POST", RECONCILE, &[], "").assert(200);
    assert_eq!(inheritance(), before);
}
