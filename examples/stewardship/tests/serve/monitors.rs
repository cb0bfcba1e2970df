//! What the routes change and show of monitors.

use serde_json::{Value, json};

use super::process::{Service, eventually};
use crate::harness::Workspace;

fn change(service: &Service, body: &Value) -> Value {
    service.send("PATCH", "/monitors/orders", Some(body)).assert(200).clone()
}

#[test]
fn a_monitor_follows_what_it_is_set_to() {
    let workspace = Workspace::with_log("");
    let service = Service::start(&workspace).with_organisation();
    service.put("/users/ann/systems", &json!({ "system_ids": ["crm"] })).assert(200);
    service.wait_for_stewards("orders", &["ann crm"]);
    let shown = |connection: Value, inherits| {
        json!({ "key": "orders",
        "connection_config_id": connection, "inherit_system_stewards": inherits })
    };

    let changed = change(&service, &json!({ "inherit_system_stewards": false }));
    assert_eq!(changed, shown(json!("dwh"), false), "the connection was not given");
    service.wait_for_stewards("orders", &[]);
    let changed = change(&service, &json!({ "inherit_system_stewards": true }));
    assert_eq!(changed, shown(json!("dwh"), true));
    service.wait_for_stewards("orders", &["ann crm"]);
    let changed = change(&service, &json!({ "connection_config_id": null }));
    assert_eq!(changed, shown(json!(null), true), "a null is given");
    service.wait_for_stewards("orders", &[]);
    change(&service, &json!({ "connection_config_id": "dwh", "inherit_system_stewards": true }));
    service.wait_for_stewards("orders", &["ann crm"]);
    assert_eq!(change(&service, &json!({})), shown(json!("dwh"), true));
    assert_eq!(*service.get("/monitors/orders").assert(200), shown(json!("dwh"), true));
    let listed = service.get("/monitors");
    assert_eq!(listed.assert(200)["items"], json!([shown(json!("dwh"), true)]));

    service.send("DELETE", "/monitors/orders", None).assert(204);
    service.get("/monitors/orders").assert_problem(404);
    service.get("/monitors/orders/stewards").assert_problem(404);
}

#[test]
fn a_monitor_is_refused_a_connection_that_is_not_there_and_stays_as_it_is() {
    let workspace = Workspace::with_log("");
    let service = Service::start(&workspace).with_organisation();
    let body = json!({ "inherit_system_stewards": false, "connection_config_id": "nowhere" });
    service.send("PATCH", "/monitors/orders", Some(&body)).assert_problem(422);
    let monitor = service.get("/monitors/orders");
    assert_eq!(monitor.assert(200)["inherit_system_stewards"], true, "all or nothing");
    service.send("PATCH", "/monitors/nothing", Some(&json!({}))).assert_problem(404);
    let body =
        json!({ "key": "new", "connection_config_id": "nowhere", "inherit_system_stewards": true });
    service.post("/monitors", &body).assert_problem(422);
}

#[test]
fn explicit_stewards_stand_beside_inherited_ones() {
    let workspace = Workspace::with_log("");
    let service = Service::start(&workspace).with_organisation();
    service.put("/users/ann/systems", &json!({ "system_ids": ["crm", "erp"] })).assert(200);
    for user in ["ann", "bob"] {
        service.send("PUT", &format!("/monitors/orders/stewards/{user}"), None).assert(204);
    }
    service.wait_for_stewards("orders", &["ann explicit crm erp", "bob explicit "]);
    let first = service.get("/monitors/orders/stewards?limit=1");
    assert_eq!(first.assert(200)["next"], "ann");
    let second = service.get("/monitors/orders/stewards?limit=1&after=ann");
    assert_eq!(second.assert(200)["items"][0]["user_id"], "bob");
    service.send("DELETE", "/monitors/orders/stewards/ann", None).assert(204);
    service.wait_for_stewards("orders", &["ann crm erp", "bob explicit "]);
    service.send("PUT", "/monitors/orders/stewards/nobody", None).assert_problem(404);
}

#[test]
fn operations_are_followed_by_resources_and_statistics() {
    let workspace = Workspace::with_log("");
    let service = Service::start(&workspace).with_organisation();
    let nothing = service.get("/monitors/orders/statistics");
    assert_eq!(nothing.assert(200)["computed_at"], json!(null));
    let complete = |body: Value| {
        service.post("/monitors/orders/operations", &body).assert(204);
    };
    complete(json!({ "operation_type": "monitor_execution", "urns": ["a", "b", "c"] }));
    complete(json!({ "operation_type": "mute", "urns": ["b"] }));
    let resources = service.get("/monitors/orders/resources?limit=2");
    let of = |urn: &str, status: &str| json!({ "urn": urn, "status": status });
    assert_eq!(resources.assert(200)["items"], json!([of("a", "addition"), of("b", "muted")]));
    assert_eq!(resources.body["next"], "b");
    let statistics = eventually(|| {
        let statistics = service.get("/monitors/orders/statistics").assert(200).clone();
        (statistics["operations"] == 2).then_some(statistics)
    });
    assert_eq!((&statistics["addition"], &statistics["muted"]), (&json!(2), &json!(1)));
    for moment in ["last_completed_at", "computed_at"] {
        let moment = statistics[moment].as_str().unwrap();
        assert!(moment.starts_with("20") && moment.ends_with('Z'), "{moment}");
    }
    let unknown = json!({ "operation_type": "monitor_execution" });
    service.post("/monitors/nothing/operations", &unknown).assert_problem(404);
    service.get("/monitors/nothing/statistics").assert_problem(404);
    service.get("/monitors/nothing/resources").assert_problem(404);
}
