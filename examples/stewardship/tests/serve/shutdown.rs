//! The service is told to end while somebody waits for its answer.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use super::process::{Service, TOKEN};
use crate::harness::{Workspace, run, stewardship};

const BODY: &str = r#"{"system_ids":["crm"]}"#;

/// A request that has begun: the service waits for its body.
fn begun(service: &Service) -> TcpStream {
    let mut stream = TcpStream::connect(&service.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let length = BODY.len();
    write!(
        stream,
        "PUT /users/ann/systems HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\
         expect: 100-continue\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    // It says so when the handler has begun to read.
    let mut told = [0; 25];
    stream.read_exact(&mut told).unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

#[test]
fn a_request_that_has_begun_is_finished_before_the_service_ends() {
    let workspace = Workspace::with_log("");
    let mut service = Service::start(&workspace).with_organisation();
    let mut stream = begun(&service);
    service.process.terminate();
    service.process.line("stopping; requests and handlers that run may finish", |_| true);
    super::process::eventually(|| TcpStream::connect(&service.address).err());
    stream.write_all(BODY.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains(r#""added":["crm"]"#), "{answer}");
    assert!(service.process.ended().success());
    // What it published is there for whoever works next.
    let next = Service::start(&workspace);
    next.wait_for_stewards("orders", &["ann crm"]);
}

#[test]
fn a_request_that_does_not_end_is_waited_for_no_longer_than_the_grace() {
    let workspace = Workspace::with_log("");
    let variables = [("STEWARDSHIP_SHUTDOWN_GRACE", "50ms")];
    let mut service = Service::start_with(&workspace, &variables).with_organisation();
    let _open = begun(&service);
    service.process.terminate();
    assert!(service.process.ended().success());
    let cut_off = "requests that did not finish in time are cut off; what has not committed is \
                   rolled back";
    service.process.line(cut_off, |_| true);
}

#[test]
fn who_is_told_twice_to_end_does_so_at_once() {
    let workspace = Workspace::with_log("");
    let variables = [("STEWARDSHIP_SHUTDOWN_GRACE", "1h")];
    let mut service = Service::start_with(&workspace, &variables).with_organisation();
    let _open = begun(&service);
    service.process.terminate();
    service.process.line("stopping; requests and handlers that run may finish", |_| true);
    service.process.terminate();
    assert_eq!(service.process.ended().code(), Some(130));
}

#[test]
fn an_address_that_is_taken_is_told() {
    let workspace = Workspace::with_log("");
    let service = Service::start(&workspace);
    let database = workspace.database.location();
    let mut second = stewardship(&["serve", "--listen", &service.address, "--database", &database]);
    let ended = second.env("STEWARDSHIP_TOKEN", TOKEN).output().unwrap();
    assert_eq!(ended.status.code(), Some(70), "{ended:?}");
    let told = String::from_utf8(ended.stderr).unwrap();
    assert!(told.contains("`listen`") && told.contains(&service.address), "{told}");
}

#[test]
fn a_table_of_another_program_keeps_the_service_from_starting() {
    let workspace = Workspace::with_log("");
    #[cfg(not(feature = "postgres"))]
    std::fs::write(workspace.path("app.db"), "").unwrap();
    workspace.execute("CREATE TABLE users (name TEXT)");
    let database = workspace.database.location();
    let mut command = stewardship(&["serve", "--listen", "127.0.0.1:0", "--database", &database]);
    let ended = command.env("STEWARDSHIP_TOKEN", TOKEN).output().unwrap();
    assert_eq!(ended.status.code(), Some(70), "{ended:?}");
    assert!(String::from_utf8(ended.stderr).unwrap().contains("another program's database"));
}

#[test]
fn what_was_stored_is_there_after_a_restart() {
    let workspace = Workspace::with_log("");
    let mut first = Service::start(&workspace).with_organisation();
    first.put("/users/ann/systems", &json!({ "system_ids": ["crm"] })).assert(200);
    first.process.terminate();
    assert!(first.process.ended().success());
    let second = Service::start(&workspace);
    second.wait_for_stewards("orders", &["ann crm"]);
    drop(second);
    assert_eq!(run(&["reconcile", "--database", &workspace.database.location()]).code, Some(0));
}
