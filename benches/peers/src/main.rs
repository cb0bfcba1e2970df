//! Measures this project's queue on PostgreSQL beside bare statements and beside its peers.
//!
//! ```text
//! cargo run --release -- all
//! ```
//!
//! `docs/benchmarks.md` says how, and has the figures.

#![allow(clippy::unused_async, reason = "the handlers measured are async and do nothing")]
#![allow(clippy::cast_precision_loss, reason = "counts and nanoseconds fit in 52 bits")]

mod benchmarks;
mod contenders;
mod handled;
mod job;
#[path = "../../src/measure.rs"]
#[allow(dead_code, reason = "shared with the benchmarks on SQLite, which use more of it")]
mod measure;
#[path = "../../src/report.rs"]
mod report;
mod slices;

use std::process::ExitCode;

use crate::benchmarks::NAMES;
use crate::report::Report;
use crate::slices::Harness;

/// Whatever kept a benchmark from being measured.
type Failed = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        // This program starts itself: a slice, and within one a worker apart from its publisher.
        ["slice", benchmark, contender, url, rest @ ..] => {
            let slice = benchmarks::slice(benchmark, contender, url, rest);
            tokio::select! {
                // Leaves at once: the thread that reads the input would keep the program.
                done = slice => std::process::exit(i32::from(is_failed(&done))),
                () = benchmarks::parent_ends() => std::process::exit(1),
            }
        }
        ["worker", contender, url] => {
            let done = benchmarks::worker(contender, url).await;
            std::process::exit(i32::from(is_failed(&done)))
        }
        chosen => match run(chosen).await {
            Ok(code) => code,
            Err(error) => {
                println!("{error}");
                ExitCode::from(2)
            }
        },
    }
}

/// Prints why a part of this program could not do its work.
fn is_failed(done: &Result<(), Failed>) -> bool {
    if let Err(error) = done {
        println!("{error}");
    }
    done.is_err()
}

async fn run(arguments: &[&str]) -> Result<ExitCode, Failed> {
    let (flags, names): (Vec<&str>, Vec<&str>) =
        arguments.iter().partition(|argument| argument.starts_with("--"));
    if names.is_empty()
        || !names.iter().all(|name| *name == "all" || NAMES.contains(name))
        || !flags.iter().all(|flag| ["--quick", "--check"].contains(flag))
    {
        return Err(format!(
            "name benchmarks to run: all {}\n--quick: small and short; --check: exit with 1 if a \
             target is missed",
            NAMES.join(" ")
        )
        .into());
    }
    let harness = Harness::start(flags.contains(&"--quick"))?;
    let mut report = Report::start();
    for name in NAMES {
        // The snapshot is held for ten minutes: only who asks for it waits for it.
        let by_all = names.contains(&"all") && name != "snapshot";
        if by_all || names.contains(&name) {
            report.section(name);
            if let Err(error) = benchmarks::run(name, &harness, &mut report).await {
                report.failed(error.as_ref());
            }
        }
    }
    let code = report.finish();
    Ok(if flags.contains(&"--check") { code } else { ExitCode::SUCCESS })
}
