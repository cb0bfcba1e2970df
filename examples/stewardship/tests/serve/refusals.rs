//! What is wrong is answered as a problem, whoever found it: a route, axum, or nobody.

use serde_json::json;

use super::process::Service;
use crate::harness::Workspace;

const JSON: (&str, &str) = ("content-type", "application/json");

#[test]
fn every_refusal_is_a_problem_with_the_id_of_its_request() {
    let workspace = Workspace::with_log("");
    let service = Service::start(&workspace).with_organisation();
    let send = |method, path, body: &str| service.send_text(method, path, &[JSON], body);

    let exists = send("POST", "/users", r#"{"user_id":"ann"}"#);
    assert_eq!(exists.assert_problem(409), r#"user "ann" exists already"#);
    assert_eq!(exists.body["type"], "urn:stewardship:exists");
    let unknown = send("GET", "/users/nobody", "");
    assert!(unknown.assert_problem(404).contains(r#"user "nobody" is unknown"#));
    assert_eq!(unknown.body["type"], "urn:stewardship:unknown");
    let nowhere = send("GET", "/nowhere", "");
    assert_eq!(nowhere.assert_problem(404), "nothing has this address");
    assert_eq!(nowhere.body["type"], "about:blank");
    let method = send("PUT", "/users", "{}");
    method.assert_problem(405);
    assert_eq!(method.header("allow"), "GET,HEAD,POST");
    assert!(send("POST", "/users", "{").assert_problem(400).contains("line 1"));
    assert!(send("POST", "/users", r#"{"user":"x"}"#).assert_problem(422).contains("`user`"));
    send("POST", "/users", "{}").assert_problem(422);
    service.send_text("POST", "/users", &[], r#"{"user_id":"x"}"#).assert_problem(415);
    let large = format!(r#"{{"user_id":"{}"}}"#, "x".repeat(1 << 20));
    send("POST", "/users", &large).assert_problem(413);
    send("GET", "/users/%FF", "").assert_problem(400);
}

#[test]
fn a_name_is_something_that_can_be_shown_and_kept() {
    let workspace = Workspace::with_log("");
    let service = Service::start(&workspace);
    let long = "x".repeat(256);
    for (name, said) in [
        ("", "at least one character"),
        ("a\u{0}b", "no control characters"),
        ("a\nb", "no control characters"),
        (&long, "at most 255 characters"),
    ] {
        let refused = service.post("/users", &json!({ "user_id": name }));
        assert!(refused.assert_problem(422).contains(said), "{refused:?}");
    }
    service.post("/users", &json!({ "user_id": "ö".repeat(255) })).assert(201);
    // What names something is looked for, whatever it is; not every database takes all.
    let nul = service.get("/users/a%00b");
    nul.assert_problem(if cfg!(feature = "postgres") { 422 } else { 404 });
}

#[test]
fn a_failure_inside_is_told_to_the_log_and_not_to_the_client() {
    let workspace = Workspace::with_log("");
    let service = Service::start(&workspace);
    workspace.execute("ALTER TABLE staged_resources RENAME TO somewhere_else");
    let failed = service.get("/monitors/orders/resources");
    let detail = failed.assert_problem(500);
    assert!(!failed.body.to_string().contains("staged_resources"), "{failed:?}");
    assert!(detail.contains("the log"), "{failed:?}");
    let request = failed.header("x-request-id");
    let line =
        service.process.line("the request failed", |line| line["span"]["request_id"] == request);
    assert!(line["fields"]["cause"].as_str().unwrap().contains("staged_resources"), "{line}");
}

#[test]
fn a_list_that_is_too_long_is_refused_with_its_name() {
    let workspace = Workspace::with_log("");
    let service = Service::start(&workspace).with_organisation();
    let names = |count| (0..count).map(|n| format!("n{n}")).collect::<Vec<_>>();
    for (method, path, list, more) in [
        ("PUT", "/users/ann/systems", "system_ids", json!({})),
        ("POST", "/organisation", "users", json!({})),
        ("POST", "/organisation", "systems", json!({})),
        ("POST", "/organisation", "connections", json!({})),
        ("POST", "/monitors/orders/operations", "urns", json!({ "operation_type": "classify" })),
        ("POST", "/discovery-monitor/stewardship/reconcile", "monitor_config_keys", json!({})),
    ] {
        let mut body = more;
        body[list] = names(1_001).into();
        let refused = service.send(method, path, Some(&body));
        let detail = refused.assert_problem(422);
        let said = format!("{list}: a list has at most 1000 items, not 1001");
        assert!(detail.contains(&said), "{detail}");
    }
    service.post("/organisation", &json!({ "users": names(1_000) })).assert(200);
}

/// Another process writes, and goes on writing for longer than anybody waits.
#[test]
#[cfg(not(feature = "postgres"))]
fn a_database_that_somebody_else_holds_is_answered_for_and_can_be_read() {
    use sqlx::Connection as _;

    let workspace = Workspace::with_log("");
    let service = Service::start(&workspace).with_organisation();
    workspace.with_connection(async |connection| {
        let held = connection.begin_with("BEGIN IMMEDIATE").await.unwrap();
        let refused = service.post("/users", &json!({ "user_id": "cid" }));
        refused.assert_problem(503);
        assert_eq!(refused.header("retry-after"), "1");
        service.get("/users/ann").assert(200);
        held.rollback().await.unwrap();
    });
    service.post("/users", &json!({ "user_id": "cid" })).assert(201);
}

/// What another transaction does to one, made by a trigger: it counts also what is rolled back.
#[cfg(feature = "postgres")]
fn with_conflicts(workspace: &Workspace, function: &'static str) {
    workspace.execute("CREATE SEQUENCE attempts");
    workspace.execute(function);
    workspace.execute(
        "CREATE TRIGGER conflict BEFORE INSERT ON users
         FOR EACH ROW EXECUTE FUNCTION conflict()",
    );
}

#[test]
#[cfg(feature = "postgres")]
fn a_change_that_another_transaction_stands_in_the_way_of_is_made_again() {
    let workspace = Workspace::with_log("");
    let service = Service::start(&workspace);
    with_conflicts(
        &workspace,
        "CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF nextval('attempts') <= 3 THEN RAISE 'conflict' USING ERRCODE = '40001'; END IF;
             RETURN NEW;
         END $$",
    );
    service.post("/users", &json!({ "user_id": "ann" })).assert(201);
    assert_eq!(workspace.rows("SELECT last_value::text FROM attempts"), ["4"]);
}

#[test]
#[cfg(feature = "postgres")]
fn a_change_that_meets_nothing_but_conflicts_is_to_be_tried_later() {
    let workspace = Workspace::with_log("");
    let service = Service::start(&workspace);
    with_conflicts(
        &workspace,
        "CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             PERFORM nextval('attempts');
             RAISE 'conflict' USING ERRCODE = '40P01';
         END $$",
    );
    service.post("/users", &json!({ "user_id": "ann" })).assert_problem(503);
    assert_eq!(workspace.rows("SELECT last_value::text FROM attempts"), ["9"]);
}

/// As if the server ended after it was asked to commit: whether it has, nobody hears.
#[test]
#[cfg(feature = "postgres")]
fn a_commit_that_is_not_answered_is_not_to_be_repeated_blindly() {
    let workspace = Workspace::with_log("");
    let service = Service::start(&workspace);
    workspace.execute(
        "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             PERFORM pg_terminate_backend(pg_backend_pid());
             RETURN NULL;
         END $$",
    );
    workspace.execute(
        "CREATE CONSTRAINT TRIGGER broken AFTER INSERT ON users DEFERRABLE INITIALLY DEFERRED
         FOR EACH ROW EXECUTE FUNCTION broken()",
    );
    let unknown = service.post("/users", &json!({ "user_id": "ann" }));
    assert!(unknown.assert_problem(500).contains("look whether it was made"), "{unknown:?}");
    assert_eq!(unknown.body["type"], "urn:stewardship:outcome-unknown");
    assert!(!unknown.headers.contains_key("retry-after"), "{unknown:?}");
}

#[test]
#[cfg(feature = "postgres")]
fn what_is_deleted_while_something_is_to_refer_to_it_is_unknown() {
    use sqlx::Connection as _;

    const SOMEBODY_WAITS: &str = "SELECT EXISTS (SELECT 1 FROM pg_locks
        WHERE NOT granted AND transactionid = pg_current_xact_id()::xid)";
    let workspace = Workspace::with_log("");
    let service = Service::start(&workspace).with_organisation();
    let refused = std::thread::scope(|scope| {
        workspace.with_connection(async |connection| {
            let mut deletion = connection.begin().await.unwrap();
            let delete = sqlx::query("DELETE FROM systems WHERE id = 'crm'");
            delete.execute(&mut *deletion).await.unwrap();
            let asked = scope.spawn(|| service.send("PUT", "/systems/crm/stewards/ann", None));
            let mut waits = false;
            while !waits {
                assert!(!asked.is_finished(), "it does not wait");
                waits = sqlx::query_scalar(SOMEBODY_WAITS).fetch_one(&mut *deletion).await.unwrap();
            }
            deletion.commit().await.unwrap();
            asked.join().unwrap()
        })
    });
    assert!(refused.assert_problem(404).contains(r#"system "crm" is unknown"#), "{refused:?}");
}
