//! The sweep on demand, and what is told of the sweeps that come by themselves.

use std::sync::mpsc;
use std::thread;

use serde_json::json;
use sqlx::Connection as _;

use super::process::{Answer, Service};
use crate::harness::Workspace;

const RECONCILE: &str = "/discovery-monitor/stewardship/reconcile";

/// Two monitors that are to inherit `ann`. No worker runs that could follow the events.
fn with_lost_rows(workspace: &Workspace) -> Service {
    let without = [("STEWARDSHIP_WORKER", "false")];
    let service = Service::start_with(workspace, &without).with_organisation();
    let monitor = json!({ "key": "returns", "connection_config_id": "dwh",
        "inherit_system_stewards": true });
    service.post("/monitors", &monitor).assert(201);
    service.put("/users/ann/systems", &json!({ "system_ids": ["crm"] })).assert(200);
    for monitor in ["orders", "returns"] {
        assert!(service.stewards(monitor).is_empty());
    }
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
    // Not every database takes a NUL.
    let keys = json!({ "monitor_config_keys": ["returns", "nowhere", "re\0turns"] });
    let report = service.post(RECONCILE, &keys);
    let failed = ["re\0turns", "nowhere"].map(
        |key| json!({ "monitor_config_key": key, "reason": "there is no monitor of this key" }),
    );
    assert_eq!(
        *report.assert(200),
        json!({ "checked": 3, "added": 1, "removed": 0, "failed": failed })
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

/// Of two sweeps at once one is refused, while the other waits for monitors that somebody holds. Then
/// comes `meanwhile`, and they are let go. Gives what the other is answered.
fn one_of_two(workspace: &Workspace, service: &Service, meanwhile: impl FnOnce()) -> Answer {
    let (held, is_held) = mpsc::channel();
    let (let_go, is_let_go) = mpsc::channel();
    let (answered, answers) = mpsc::channel();
    thread::scope(move |scope| {
        scope.spawn(move || {
            workspace.with_connection(async |connection| {
                let mut transaction = connection.begin().await.unwrap();
                let touch = sqlx::query("UPDATE monitor_configs SET key = key");
                touch.execute(&mut *transaction).await.unwrap();
                held.send(()).unwrap();
                is_let_go.recv().ok(); // or nobody is there any more who would say so
                transaction.rollback().await.unwrap();
            });
        });
        is_held.recv().unwrap();
        for _ in 0..2 {
            let answered = answered.clone();
            scope.spawn(move || {
                answered.send(service.send_text("POST", RECONCILE, &[], "")).ok();
            });
        }
        let refused = answers.recv().unwrap();
        let running = "a sweep is running; try again when it is done";
        assert_eq!(refused.assert_problem(503), running);
        assert_eq!(refused.header("retry-after"), "1");
        meanwhile();
        let_go.send(()).unwrap();
        answers.recv().unwrap()
    })
}

#[test]
fn one_sweep_on_demand_runs_at_a_time() {
    let workspace = Workspace::with_log("");
    let service = with_lost_rows(&workspace);
    let other = one_of_two(&workspace, &service, || {});
    assert_eq!(other.assert(200)["added"], 2);
    service.send_text("POST", RECONCILE, &[], "").assert(200);
}

#[test]
fn a_sweep_on_demand_ends_when_the_service_is_to_end() {
    let workspace = Workspace::with_log("");
    let mut service = with_lost_rows(&workspace);
    let stopped = one_of_two(&workspace, &service, || {
        service.process.terminate();
        service.process.line("stopping; requests and handlers that run may finish", |_| true);
    });
    assert!(stopped.assert_problem(503).starts_with("the service stops"), "{stopped:?}");
    assert!(service.process.ended().success());
}
