//! Measures what the project promises about speed. `docs/benchmarks.md` has the figures.
//!
//! ```text
//! cargo run --release -p events-benches -- all
//! ```
//!
//! Machines are noisy, so nothing is compared with a figure of another day: whatever is measured
//! is measured in turns with its floor, and the medians of the rounds are printed beside their
//! ratio.

#![allow(clippy::print_stdout, reason = "figures are printed")]
#![allow(clippy::unused_async, reason = "the handlers measured are async and do nothing")]
#![allow(clippy::cast_precision_loss, reason = "counts and nanoseconds fit in 52 bits")]

mod build_cost;
mod fan_out;
mod measure;
mod memory;
mod outbox;
mod registry;
mod report;
mod sqlite;

use std::process::ExitCode;

use report::Report;

/// A benchmark that was asked for by name.
type Benchmark = fn(&mut Report) -> Result<(), Failed>;

/// Whatever kept a benchmark from being measured.
type Failed = Box<dyn std::error::Error>;

const BENCHMARKS: &[(&str, Benchmark)] = &[
    ("fan-out", fan_out::run),
    ("registry", registry::run),
    ("publish", sqlite::publish::run),
    ("drain", sqlite::drain::run),
    ("backlog", sqlite::backlog::run),
    ("latency", sqlite::latency::run),
    ("outbox", outbox::run),
    ("memory", memory::run),
    ("build-cost", build_cost::run),
];

fn main() -> ExitCode {
    if let Some(code) = build_cost::as_rustc_wrapper() {
        return code;
    }
    let names: Vec<String> = std::env::args().skip(1).collect();
    match names.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => usage(),
        // This program starts itself: what is measured there shares no memory and no log with us.
        ["statements-child", path] => finish(sqlite::publish::count_statements(path)),
        ["memory-child", path] => finish(memory::drain(path)),
        ["all"] => run(BENCHMARKS.iter().collect()),
        chosen => {
            let found: Option<Vec<_>> = chosen
                .iter()
                .map(|name| BENCHMARKS.iter().find(|(known, _)| known == name))
                .collect();
            found.map_or_else(usage, run)
        }
    }
}

fn usage() -> ExitCode {
    let names: Vec<_> = BENCHMARKS.iter().map(|(name, _)| *name).collect();
    println!("name benchmarks to run: all {}", names.join(" "));
    ExitCode::from(2)
}

fn run(benchmarks: Vec<&(&str, Benchmark)>) -> ExitCode {
    let mut report = Report::start();
    for (name, benchmark) in benchmarks {
        report.section(name);
        if let Err(error) = benchmark(&mut report) {
            report.failed(error.as_ref());
        }
    }
    report.finish()
}

fn finish(done: Result<(), Failed>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("failed: {error}");
            ExitCode::FAILURE
        }
    }
}
