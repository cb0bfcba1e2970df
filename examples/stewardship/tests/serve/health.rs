//! Whether the service lives, and whether it is ready.

use super::process::Service;
#[cfg(feature = "postgres")]
use super::process::eventually;
use crate::harness::Workspace;

/// The tables of the queue are not what they were.
const SPOILED: &str = if cfg!(feature = "postgres") {
    "ALTER TABLE events.tasks RENAME TO somewhere_else"
} else {
    "ALTER TABLE events_tasks RENAME TO somewhere_else"
};

#[test]
fn a_service_lives_and_is_ready_and_says_where_its_worker_is() {
    let workspace = Workspace::with_log("");
    let inside = Service::start(&workspace).with_token("");
    assert_eq!(inside.get("/health/live").assert(200)["status"], "alive");
    let ready = inside.get("/health/ready");
    assert_eq!(ready.assert(200)["worker"], "inside");
    assert_eq!(ready.body["warnings"], serde_json::json!([]));
    let apart = Service::start_with(&workspace, &[("STEWARDSHIP_WORKER", "false")]).with_token("");
    assert_eq!(apart.get("/health/ready").assert(200)["worker"], "apart");
}

#[test]
fn a_queue_that_cannot_tell_how_it_is_doing_is_a_warning() {
    let workspace = Workspace::with_log("");
    let service = Service::start_with(&workspace, &[("STEWARDSHIP_WORKER", "false")]);
    workspace.execute(SPOILED);
    let ready = service.get("/health/ready");
    let warnings = ready.assert(200)["warnings"].as_array().unwrap().clone();
    assert_eq!(warnings, ["the queue cannot tell how it is doing; the log tells why"]);
    service.process.line("the queue cannot tell how it is doing", |_| true);
}

#[test]
#[cfg(not(feature = "postgres"))]
fn a_service_whose_file_is_gone_lives_and_is_not_ready() {
    let workspace = Workspace::with_log("");
    let service = Service::start(&workspace);
    service.get("/health/ready").assert(200);
    std::fs::rename(workspace.path("app.db"), workspace.path("elsewhere.db")).unwrap();
    let gone = service.get("/health/ready");
    assert_eq!(gone.assert_problem(503), "the file of the database is gone");
    assert_eq!(gone.header("retry-after"), "1");
    service.get("/health/live").assert(200);
    std::fs::rename(workspace.path("elsewhere.db"), workspace.path("app.db")).unwrap();
    service.get("/health/ready").assert(200);
}

#[test]
#[cfg(feature = "postgres")]
fn a_service_whose_database_is_gone_lives_and_is_ready_again_when_it_is_back() {
    use private_postgres::{Mode, Server, Settings};

    let server = Server::start(Settings::default()).unwrap();
    let database = server.create_database();
    let workspace = Workspace::with_log("");
    let service = Service::start_on(&database.url(), &workspace.path("serve.log"), &[]);
    service.get("/health/ready").assert(200);
    server.stop(Mode::Fast).unwrap();
    let gone = service.get("/health/ready");
    gone.assert_problem(503);
    assert_eq!(gone.header("retry-after"), "1");
    service.get("/users").assert_problem(503);
    service.post("/users", &serde_json::json!({ "user_id": "ann" })).assert_problem(503);
    service.get("/health/live").assert(200);
    server.start_again().unwrap();
    eventually(|| (service.get("/health/ready").status == 200).then_some(()));
    service.post("/users", &serde_json::json!({ "user_id": "ann" })).assert(201);
}
