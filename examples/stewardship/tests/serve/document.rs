//! The OpenAPI document, and whether the service does what it says.

use std::collections::BTreeSet;

use super::authorization::operations;
use super::process::Service;
use crate::harness::Workspace;

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

#[test]
fn each_address_of_the_document_takes_the_methods_that_it_lists_and_no_others() {
    let workspace = Workspace::with_log("");
    let service = Service::start(&workspace);
    let document = service.with_token("").get("/openapi.json").assert(200).clone();
    let service = Service::start(&workspace);
    let operations = operations(&document);
    let paths: BTreeSet<_> = operations.iter().map(|(_, path, _)| path.as_str()).collect();
    for path in paths {
        for method in METHODS {
            let listed = operations.iter().any(|(of, at, _)| of == method && at == path);
            let answer = service.send_text(method, &path.replace(['{', '}'], ""), &[], "");
            assert_eq!(answer.status != 405, listed, "{method} {path}: {answer:?}");
            if answer.status == 404 {
                let detail = answer.assert_problem(404);
                assert_ne!(detail, "nothing has this address", "{method} {path}");
            }
        }
    }
}

#[test]
fn the_document_is_one_that_generators_read() {
    let workspace = Workspace::with_log("");
    let document = Service::start(&workspace).get("/openapi.json").assert(200).clone();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    assert_eq!(document["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} stands twice");
            assert!(operation["summary"].is_string(), "{method} {path} says nothing");
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            for name in path.split('{').skip(1).map(|part| part.split('}').next().unwrap()) {
                let described = parameters.iter().any(|parameter| parameter["name"] == name);
                assert!(described, "{method} {path} does not describe {name}");
            }
        }
    }
    for reference in references(&document) {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

fn references(value: &serde_json::Value) -> Vec<String> {
    match value {
        serde_json::Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| match (name.as_str(), value.as_str()) {
                ("$ref", Some(reference)) => vec![reference.to_owned()],
                _ => references(value),
            })
            .collect(),
        serde_json::Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}
