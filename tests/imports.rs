//! Which crate may import which: dependencies point one way.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// What each of our crates may depend on, among ours. Dev-dependencies of a crate are for its own
/// tests and not part of what users build; `tests/`, `benches/` and the examples are binaries.
const ALLOWED: &[(&str, &[&str])] = &[
    ("events-core", &["events-macros"]),
    ("events-macros", &[]),
    ("events-runtime", &["events-core"]),
    ("events-sqlx", &["events-core"]),
    ("events-celery", &["events-core"]),
    ("events-testing", &["events-core", "events-runtime"]),
];

/// What only one of our library crates may name.
const OWNED: &[(&str, &str)] = &[
    ("sqlx", "events-sqlx"),
    ("redis", "events-celery"),
    ("syn", "events-macros"),
    ("croner", "events-runtime"),
    ("jiff", "events-runtime"),
];

/// What the words never depend on.
const NOT_IN_CORE: &[&str] = &["tokio", "sqlx", "redis"];

#[test]
fn dependencies_point_one_way() {
    let packages = dependencies();
    for (package, allowed) in ALLOWED {
        let ours: BTreeSet<_> = packages[*package]
            .iter()
            .map(String::as_str)
            .filter(|name| packages.contains_key(*name))
            .collect();
        let allowed: BTreeSet<_> = allowed.iter().copied().collect();
        assert!(ours.is_subset(&allowed), "{package} imports {ours:?}, and may import {allowed:?}");
    }
}

#[test]
fn one_crate_names_the_driver() {
    let packages = dependencies();
    for (dependency, owner) in OWNED {
        for (package, _) in ALLOWED.iter().filter(|(package, _)| package != owner) {
            assert!(
                !packages[*package].contains(*dependency),
                "{package} imports {dependency}, which only {owner} may"
            );
        }
    }
    for dependency in NOT_IN_CORE {
        assert!(!packages["events-core"].contains(*dependency), "events-core imports {dependency}");
    }
}

/// The normal dependencies of every package of the workspace.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let array = |value: &serde_json::Value| value.as_array().expect("an array").clone();
    let name = |value: &serde_json::Value| value["name"].as_str().expect("a name").to_owned();
    array(&metadata["packages"])
        .iter()
        .map(|package| {
            let normal = array(&package["dependencies"])
                .iter()
                .filter(|dependency| dependency["kind"].is_null())
                .map(name)
                .collect();
            (name(package), normal)
        })
        .collect()
}
