//! What the compiler says to users.
//!
//! `fail/` holds one mistake per file, with what the compiler says about it; `pass/` holds what
//! must compile without a word. After a change of a message, read the new one as a user who knows
//! nothing of our code, then keep it with `TRYBUILD=overwrite cargo test -p ui-tests`.

mod matrix;

use std::process::Command;

/// The compiler whose messages are kept in `fail/`; others word and place things differently.
const SNAPSHOTS_OF: &str = "rustc 1.95.";

#[test]
fn what_should_compile_compiles() {
    trybuild::TestCases::new().pass("pass/*.rs");
}

#[test]
fn mistakes_are_explained_as_agreed() {
    let version = compiler_version();
    if version.starts_with(SNAPSHOTS_OF) {
        trybuild::TestCases::new().compile_fail("fail/*/*.rs");
    } else {
        skipped(&version);
    }
}

fn compiler_version() -> String {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(compiler).arg("--version").output().expect("rustc runs");
    String::from_utf8(output.stdout).expect("versions are UTF-8").trim().to_owned()
}

#[allow(clippy::print_stderr)] // the only way to say that a test did less than usual
fn skipped(version: &str) {
    eprintln!(
        "skipped: the kept messages are those of {SNAPSHOTS_OF}x, and this is {version}; \
         the matrix and the cases that must compile are checked with every compiler"
    );
}
