//! Workers apart from the service.

use std::time::Duration;

use events_core::WorkerId;
use events_core::cadence::{ReconcilerRuns as _, RunStart};
use serde_json::json;
use stewardship::replay::open_database;

use super::process::{Process, Service, eventually};
use crate::harness::{Workspace, run, stewardship};

const APART: (&str, &str) = ("STEWARDSHIP_WORKER", "false");

#[test]
fn two_workers_share_what_a_service_without_one_publishes() {
    const MONITORS: usize = 40;
    let workspace = Workspace::with_log("");
    let mut service = Service::start_with(&workspace, &[APART]).with_organisation();
    let mut workers = ["one", "two"].map(|name| Process::worker(&workspace, name, &[]));
    for worker in &workers {
        worker.line("worker started", |_| true);
    }
    service.put("/users/ann/systems", &json!({ "system_ids": ["crm"] })).assert(200);
    for number in 0..MONITORS {
        let monitor = json!({ "key": format!("m{number}"), "connection_config_id": "dwh",
            "inherit_system_stewards": true });
        service.post("/monitors", &monitor).assert(201);
    }
    for number in 0..MONITORS {
        service.wait_for_stewards(&format!("m{number}"), &["ann crm"]);
    }
    service.wait_for_stewards("orders", &["ann crm"]);
    service.process.terminate();
    assert!(service.process.ended().success());
    let completed = workers.each_mut().map(|worker| {
        worker.terminate();
        assert!(worker.ended().success());
        worker.line("worker stopped", |_| true)["fields"]["completed"].as_u64().unwrap()
    });
    // Two links, a monitor, a steward, and the monitors of the loop: each by one of the two.
    assert_eq!(completed.iter().sum::<u64>(), 4 + MONITORS as u64, "{completed:?}");
}

#[test]
fn a_worker_takes_over_what_was_published_while_none_ran() {
    let workspace = Workspace::with_log("");
    let service = Service::start_with(&workspace, &[APART]).with_organisation();
    service.put("/users/ann/systems", &json!({ "system_ids": ["crm"] })).assert(200);
    assert!(service.stewards("orders").is_empty());
    let _worker = Process::worker(&workspace, "worker", &[]);
    service.wait_for_stewards("orders", &["ann crm"]);
}

/// As if the last sweep of stewards had begun an hour ago.
fn swept_an_hour_ago(workspace: &Workspace) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (events, queue) = open_database(&workspace.location()).await.unwrap();
        let name = events.registry().reconciler("steward_inheritance").unwrap().name;
        let started_at = events.now().before(Duration::from_hours(1));
        let start = RunStart {
            name,
            after: None,
            started_at,
            started_by: WorkerId::generate(),
            next_at: started_at,
        };
        assert!(queue.begin_run(&start).await.unwrap());
        queue.pool().close().await;
    });
}

#[test]
fn a_worker_sweeps_at_the_cadence_and_the_service_tells_how_it_went() {
    let workspace = Workspace::with_log("");
    // The kill switch: whatever is right in the end, no event has brought it about.
    let without_events = [APART, ("STEWARDSHIP_EVENTS__ENABLED", "false")];
    let service = Service::start_with(&workspace, &without_events).with_organisation();
    service.put("/users/ann/systems", &json!({ "system_ids": ["crm"] })).assert(200);
    swept_an_hour_ago(&workspace);
    let variables = [("STEWARDSHIP_INHERITANCE_SWEEP_MINUTES", "30")];
    let _worker = Process::worker(&workspace, "worker", &variables);
    service.wait_for_stewards("orders", &["ann crm"]);
    eventually(|| {
        let listed = service.get("/reconcilers");
        let items = listed.assert(200)["items"].as_array().unwrap().clone();
        let swept = items.iter().find(|item| item["result"]["changed"] == 1)?;
        let by_whom = swept["started_by"].is_string() && swept["ended_at"].is_string();
        (by_whom && swept["running"] == false && swept["next_at"].is_string()).then_some(())
    });
}

/// Another process writes, so that the worker cannot say that it ends.
#[test]
#[cfg(not(feature = "postgres"))]
fn a_worker_that_is_told_twice_to_end_does_so_at_once() {
    use sqlx::Connection as _;

    let workspace = Workspace::with_log("");
    let _service = Service::start_with(&workspace, &[APART]);
    let mut worker = Process::worker(&workspace, "worker", &[]);
    worker.line("worker started", |_| true);
    workspace.with_connection(async |connection| {
        let held = connection.begin_with("BEGIN IMMEDIATE").await.unwrap();
        worker.terminate();
        worker.line("stopping; handlers that run may finish", |_| true);
        worker.terminate();
        assert_eq!(worker.ended().code(), Some(130));
        held.rollback().await.unwrap();
    });
}

#[test]
fn a_worker_is_not_started_on_nothing() {
    let nothing = run(&["worker"]);
    assert_eq!(nothing.code, Some(78), "{nothing:?}");
    assert!(nothing.stderr.contains("STEWARDSHIP_DATABASE"), "{nothing:?}");
    let workspace = Workspace::with_log("");
    let missing = workspace.database.location() + "_is_missing";
    let ended = stewardship(&["worker", "--database", &missing]).output().unwrap();
    assert_eq!(ended.status.code(), Some(70), "{ended:?}");
    assert!(String::from_utf8(ended.stderr).unwrap().contains("_is_missing"));
}
