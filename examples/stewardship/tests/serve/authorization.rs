//! Tokens and their scopes, on every route that the document has.

use serde_json::Value;

use super::process::{Answer, Service};
use crate::harness::{Workspace, run, stewardship};

const SCOPES: [&str; 5] = [
    "organisation:read",
    "organisation:write",
    "monitor:read",
    "monitor:update",
    "monitor_steward:update",
];

/// A token for each scope, which has only this one, and one that has all others.
fn tokens() -> String {
    let entries = SCOPES.iter().map(|scope| {
        let others: Vec<_> = SCOPES.iter().filter(|other| other != &scope).collect();
        format!(
            "{{ token = '{}', scopes = ['{scope}'] }}, {{ token = '{}', scopes = {others:?} }}",
            only(scope),
            without(scope)
        )
    });
    format!("[{}]", entries.collect::<Vec<_>>().join(", "))
}

fn only(scope: &str) -> String {
    format!("a-token-for-{scope}-only")
}

fn without(scope: &str) -> String {
    format!("a-token-for-all-but-{scope}")
}

/// Method, address and scope of everything in the document; no scope where no token is needed.
pub(super) fn operations(document: &Value) -> Vec<(String, String, Option<String>)> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let scope = operation["security"][0]["token"][0].as_str().map(str::to_owned);
            operations.push((method.to_uppercase(), path.clone(), scope));
        }
    }
    operations
}

fn ask(service: &Service, token: &str, method: &str, path: &str) -> Answer {
    let path = path.replace(['{', '}'], "");
    service.send_as(token, method, &path, &[("content-type", "application/json")], "{}")
}

#[test]
fn every_route_needs_a_token_with_the_scope_that_the_document_names() {
    let workspace = Workspace::with_log("");
    let service = Service::start_with(&workspace, &[("STEWARDSHIP_TOKENS", &tokens())]);
    let document = service.get("/openapi.json");
    let operations = operations(document.assert(200));
    let open: Vec<_> = operations
        .iter()
        .filter(|(_, _, scope)| scope.is_none())
        .map(|(_, path, _)| path)
        .collect();
    assert_eq!(open, ["/health/live", "/health/ready"]);
    for (method, path, scope) in &operations {
        let Some(scope) = scope else { continue };
        let what = format!("{method} {path}");
        for token in ["", "a-token-that-nobody-knows"] {
            let refused = ask(&service, token, method, path);
            refused.assert_problem(401);
            assert!(refused.header("www-authenticate").starts_with("Bearer"), "{what}");
        }
        let refused = ask(&service, &without(scope), method, path);
        assert!(refused.assert_problem(403).contains(&format!("`{scope}`")), "{what}");
        assert_eq!(refused.body["scope"], **scope, "{what}");
        let granted = ask(&service, &only(scope), method, path);
        assert!(![401, 403, 405, 500].contains(&granted.status), "{what}: {granted:?}");
    }
    // A GET answers to HEAD, too.
    let head = service.send_as("", "HEAD", "/users", &[], "");
    assert_eq!(head.status, 401, "{head:?}");
}

#[test]
fn a_header_that_is_no_bearer_token_is_refused() {
    let workspace = Workspace::with_log("");
    let service = Service::start(&workspace).with_token("");
    for header in ["Basic YTpi", "Bearer", "Bearer ", "a-token-of-the-tests"] {
        let refused = service.send_text("GET", "/users", &[("authorization", header)], "");
        refused.assert_problem(401);
    }
    let taken = [("authorization", "bearer a-token-of-the-tests")];
    service.send_text("GET", "/users", &taken, "").assert(200);
}

#[test]
fn without_a_token_the_service_refuses_to_start_and_says_how_to_make_one() {
    let workspace = Workspace::with_log("");
    let location = workspace.database.location();
    let ended = run(&["serve", "--listen", "127.0.0.1:0", "--database", &location]);
    assert_eq!(ended.code, Some(78), "{ended:?}");
    assert_eq!(ended.stdout, "", "it did not listen");
    for said in ["`token`", "STEWARDSHIP_TOKEN", "openssl rand -hex 32"] {
        assert!(ended.stderr.contains(said), "{ended:?}");
    }
    let mut short = stewardship(&["serve", "--listen", "127.0.0.1:0", "--database", &location]);
    let ended = short.env("STEWARDSHIP_TOKEN", "guess-me").output().unwrap();
    assert_eq!(ended.status.code(), Some(78), "{ended:?}");
    let told = String::from_utf8(ended.stderr).unwrap();
    assert!(told.contains("at least 16 characters") && !told.contains("guess-me"), "{told}");
}
