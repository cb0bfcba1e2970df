//! Measures the reference application: sweeps over many monitors, and a burst that is debounced.
//!
//! ```text
//! cargo run --release -p stewardship-benches                       # SQLite
//! cargo run --release -p stewardship-benches --features postgres   # a server of its own
//! ```
//!
//! `docs/benchmarks.md` has the figures.

#![allow(clippy::print_stdout, reason = "figures are printed")]
#![allow(clippy::cast_precision_loss, reason = "counts and nanoseconds fit in 52 bits")]

mod burst;
#[path = "../../src/report.rs"]
mod report;
mod sweep;
mod world;

use std::process::ExitCode;

use report::Report;

events_core::link_subscribers!(stewardship);

/// Whatever kept a benchmark from being measured.
type Failed = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> ExitCode {
    let mut report = Report::start();
    let names: Vec<String> = std::env::args().skip(1).collect();
    let chosen = |name: &str| names.is_empty() || names.iter().any(|chosen| chosen == name);
    if let Some(unknown) = names.iter().find(|name| !["sweep", "burst"].contains(&name.as_str())) {
        println!("`{unknown}` is no benchmark; name sweep, burst, or nothing for both");
        return ExitCode::from(2);
    }
    if chosen("sweep") {
        report.section("sweep");
        if let Err(error) = sweep::run(&mut report).await {
            report.failed(error.as_ref());
        }
    }
    if chosen("burst") {
        report.section("burst");
        if let Err(error) = burst::run(&mut report).await {
            report.failed(error.as_ref());
        }
    }
    report.finish()
}
