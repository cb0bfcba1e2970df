//! Measures Celery's queues on Redis as this project serves them, beside Celery and beside bare
//! commands.
//!
//! ```text
//! celery-fleet/python/install
//! cargo run --release -p celery-benches             # everything
//! cargo run --release -p celery-benches -- consume  # or some of it
//! cargo run --release -p celery-benches -- --quick  # whether it runs, not how fast
//! ```
//!
//! `docs/benchmarks.md` says how, and has the figures.

#![allow(clippy::print_stdout, reason = "figures are printed")]
#![allow(clippy::unused_async, reason = "the handlers measured are async and do nothing")]
#![allow(clippy::cast_precision_loss, reason = "counts and nanoseconds fit in 52 bits")]

mod consume;
mod floor;
mod latency;
#[path = "../../src/measure.rs"]
#[allow(dead_code, reason = "shared with the other benchmarks, which use more of it")]
mod measure;
mod memory;
mod publish;
mod relay;
#[path = "../../src/report.rs"]
mod report;
mod world;

use std::process::ExitCode;

use report::Report;
use world::World;

/// A benchmark that was asked for by name.
type Benchmark = fn(&World, &mut Report) -> Result<(), Failed>;

/// Whatever kept a benchmark from being measured.
type Failed = Box<dyn std::error::Error + Send + Sync>;

const BENCHMARKS: &[(&str, Benchmark)] = &[
    ("publish", publish::run),
    ("consume", consume::run),
    ("latency", latency::run),
    ("relay", relay::run),
    ("memory", memory::run),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // This program starts itself: a worker whose memory is measured has a process of its own.
    if let [first, url] = arguments.as_slice()
        && first == "memory-child"
    {
        return finish(memory::work(url));
    }
    let (flags, names): (Vec<&str>, Vec<&str>) =
        arguments.iter().map(String::as_str).partition(|argument| argument.starts_with("--"));
    let known = |name: &&str| BENCHMARKS.iter().any(|(known, _)| known == name);
    if !names.iter().all(known) || !flags.iter().all(|flag| *flag == "--quick") {
        let names: Vec<_> = BENCHMARKS.iter().map(|(name, _)| *name).collect();
        println!("name benchmarks, or none for all: {}; --quick is small", names.join(" "));
        return ExitCode::from(2);
    }
    match World::start(!flags.is_empty()) {
        Ok(world) => run(&world, &names),
        Err(error) => finish(Err(error)),
    }
}

fn run(world: &World, names: &[&str]) -> ExitCode {
    let mut report = Report::start();
    for (name, benchmark) in BENCHMARKS {
        if names.is_empty() || names.contains(name) {
            report.section(name);
            if let Err(error) = benchmark(world, &mut report) {
                report.failed(error.as_ref());
            }
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
