//! Finds the migrations that sqlxmq ships in its package: it has no function that runs them.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=Cargo.lock");
    let told = |name: &str| std::env::var(name).expect("cargo tells its build scripts");
    // Of other platforms the packages need not be here.
    let output = Command::new(told("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(["--filter-platform", &told("TARGET")])
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let manifest = metadata["packages"]
        .as_array()
        .and_then(|packages| packages.iter().find(|package| package["name"] == "sqlxmq"))
        .and_then(|package| package["manifest_path"].as_str())
        .expect("sqlxmq is a dependency");
    let migrations = std::path::Path::new(manifest).with_file_name("migrations");
    println!("cargo::rustc-env=SQLXMQ_MIGRATIONS={}", migrations.display());
}
