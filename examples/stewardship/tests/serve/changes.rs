//! What the routes change and show of the organisation, and what they publish.

use serde_json::json;

use super::process::{Process, Service};
use crate::harness::Workspace;

/// The events that the request of this id has published: their types' names, in order.
fn published(process: &Process, request: &str) -> Vec<String> {
    let answered = |line: &serde_json::Value| line["span"]["request_id"] == request;
    process.line("answered", answered); // all that it logs is there then
    let lines = process.lines();
    let dispatched = lines
        .iter()
        .filter(|line| line["fields"]["message"] == "event dispatched" && answered(line));
    let names = dispatched.map(|line| line["fields"]["event"].as_str().unwrap());
    names.map(|name| name.rsplit('.').next().unwrap().to_owned()).collect()
}

fn set_systems(service: &Service, request: &str, systems: &[&str]) -> serde_json::Value {
    let body = json!({ "system_ids": systems }).to_string();
    let headers = [("content-type", "application/json"), ("x-request-id", request)];
    let answer = service.send_text("PUT", "/users/ann/systems", &headers, &body);
    answer.assert(200).clone()
}

#[test]
fn setting_all_systems_of_a_user_publishes_the_difference() {
    let workspace = Workspace::with_log("");
    let service = Service::start(&workspace).with_organisation();
    let set = set_systems(&service, "both", &["erp", "crm", "crm"]);
    let all = json!(["crm", "erp"]);
    assert_eq!(set, json!({ "user_id": "ann", "system_ids": all, "added": all, "removed": [] }));
    assert_eq!(published(&service.process, "both"), ["SystemDataStewardsChanged"; 2]);
    service.wait_for_stewards("orders", &["ann crm erp"]);

    let set = set_systems(&service, "one", &["crm"]);
    assert_eq!((&set["added"], &set["removed"]), (&json!([]), &json!(["erp"])));
    assert_eq!(published(&service.process, "one"), ["SystemDataStewardsChanged"]);
    service.wait_for_stewards("orders", &["ann crm"]);

    let set = set_systems(&service, "same", &["crm"]);
    assert_eq!((&set["added"], &set["removed"]), (&json!([]), &json!([])));
    assert!(published(&service.process, "same").is_empty());
    let shown = service.get("/users/ann");
    assert_eq!(*shown.assert(200), json!({ "user_id": "ann", "system_ids": ["crm"] }));
}

#[test]
fn a_refused_change_leaves_nothing_and_publishes_nothing() {
    let workspace = Workspace::with_log("");
    let service = Service::start(&workspace).with_organisation();
    set_systems(&service, "first", &["crm"]);
    let body = json!({ "system_ids": ["erp", "nowhere"] }).to_string();
    let headers = [("content-type", "application/json"), ("x-request-id", "refused")];
    let refused = service.send_text("PUT", "/users/ann/systems", &headers, &body);
    assert!(refused.assert_problem(422).contains(r#"system "nowhere" is unknown"#));
    assert!(published(&service.process, "refused").is_empty());
    assert_eq!(service.get("/users/ann").assert(200)["system_ids"], json!(["crm"]));
}

#[test]
fn what_is_created_is_shown_where_the_answer_says_until_it_is_deleted() {
    let workspace = Workspace::with_log("");
    let service = Service::start(&workspace);
    for (collection, key, more) in [
        ("/users", "user_id", json!({ "system_ids": [] })),
        ("/systems", "system_id", json!({ "steward_ids": [], "connection_config_ids": [] })),
        ("/connections", "connection_config_id", json!({ "system_ids": [] })),
    ] {
        let name = "an ö / odd?name";
        let created = service.post(collection, &json!({ key: name }));
        assert_eq!(*created.assert(201), json!({ key: name }));
        let location = created.header("location");
        assert_eq!(location, format!("{collection}/an%20%C3%B6%20%2F%20odd%3Fname"));
        let mut expected = json!({ key: name });
        expected.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(*service.get(location).assert(200), expected);
        let listed = service.get(collection);
        assert_eq!(*listed.assert(200), json!({ "items": [{ key: name }], "next": null }));
        service.send("DELETE", location, None).assert(204);
        service.get(location).assert_problem(404);
        service.send("DELETE", location, None).assert_problem(404);
    }
}

#[test]
fn stewards_and_links_are_set_one_by_one() {
    let workspace = Workspace::with_log("");
    let service = Service::start(&workspace).with_organisation();
    let send = |method, path| service.send(method, path, None).assert(204).clone();
    for _ in 0..2 {
        send("PUT", "/systems/erp/stewards/bob"); // again changes nothing
    }
    service.wait_for_stewards("orders", &["bob erp"]);
    let system = service.get("/systems/erp");
    assert_eq!(system.assert(200)["steward_ids"], json!(["bob"]));
    assert_eq!(system.body["connection_config_ids"], json!(["dwh"]));
    send("DELETE", "/connections/dwh/systems/erp");
    service.wait_for_stewards("orders", &[]);
    assert_eq!(service.get("/connections/dwh").assert(200)["system_ids"], json!(["crm"]));
    send("PUT", "/connections/dwh/systems/erp");
    service.wait_for_stewards("orders", &["bob erp"]);
    send("DELETE", "/systems/erp/stewards/bob");
    service.wait_for_stewards("orders", &[]);
}

#[test]
fn adding_to_the_organisation_leaves_what_is_there() {
    let workspace = Workspace::with_log("");
    let service = Service::start(&workspace).with_organisation();
    let part =
        json!({ "users": ["ann", "cid"], "stewards": [{ "system_id": "crm", "user_id": "cid" }] });
    let added = service.post("/organisation", &part);
    let created = json!({ "users": ["cid"], "systems": [], "connections": [] });
    assert_eq!(*added.assert(200), created);
    service.wait_for_stewards("orders", &["cid crm"]);
    let part =
        json!({ "users": ["dan"], "stewards": [{ "system_id": "crm", "user_id": "no one" }] });
    service.post("/organisation", &part).assert_problem(422);
    service.get("/users/dan").assert_problem(404);
}

#[test]
fn lists_come_page_by_page_in_the_order_of_their_keys() {
    let workspace = Workspace::with_log("");
    let service = Service::start(&workspace);
    let users: Vec<String> = (0..120).map(|number| format!("user-{number:03}")).collect();
    service.post("/organisation", &json!({ "users": users })).assert(200);
    let mut seen = Vec::new();
    let mut next = Some(String::new());
    let mut pages = 0;
    while let Some(after) = next {
        let page = service.get(&format!("/users?limit=50&after={after}"));
        let items = page.assert(200)["items"].as_array().unwrap().clone();
        assert!(items.len() <= 50);
        seen.extend(items.iter().map(|item| item["user_id"].as_str().unwrap().to_owned()));
        next = page.body["next"].as_str().map(str::to_owned);
        pages += 1;
    }
    assert_eq!((seen, pages), (users, 3));
    let page = service.get("/users");
    assert_eq!(page.assert(200)["items"].as_array().unwrap().len(), 100, "unless asked for");
    assert_eq!(service.get("/users?limit=120").assert(200)["next"], json!(null));
    for refused in ["/users?limit=0", "/users?limit=501", "/users?limit=-1"] {
        assert!(service.get(refused).assert_problem(422).contains("give 1 to 500"));
    }
    service.get("/users?limit=many").assert_problem(400);
    service.get("/users?before=x").assert_problem(400);
}
