//! Whether a worker's memory stays flat while it drains a million tasks.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::Failed;
use crate::report::Report;
use crate::sqlite;

const TASKS: usize = 1_000_000;

/// What the worker may hold more at the end than after a quarter, when all its buffers have been
/// in use for long.
const GROWTH: f64 = 1.10;

pub(crate) fn run(report: &mut Report) -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let mut child = Command::new(std::env::current_exe()?)
        .arg("memory-child")
        .arg(directory.path().join("app.db"))
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().ok_or("the child's output is piped")?;
    let mut samples = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line?;
        let (what, kibibytes) = line.split_once('\t').ok_or(line.clone())?;
        let mebibytes = kibibytes.parse::<f64>()? / 1024.0;
        report.figure(what, &format!("{mebibytes:.1} MiB"));
        samples.push(mebibytes);
    }
    if !child.wait()?.success() {
        return Err("the process that drains has failed".into());
    }
    let [_, _, quarter, .., end] = samples[..] else {
        return Err("there are samples of the start, the quarters and the end".into());
    };
    let growth = end / quarter;
    report.target(
        "RSS at the end over RSS at 25 %",
        &format!("{growth:.3}"),
        "at most 1.10",
        growth <= GROWTH,
    );
    Ok(())
}

/// The process that drains. Prints what was done, a tab, and the RSS in KiB.
pub(crate) fn drain(path: &str) -> Result<(), Failed> {
    Runtime::new()?.block_on(async {
        let events = sqlite::events()?;
        let queue = sqlite::open(Path::new(path), &events).await?;
        sample("RSS before anything is published")?;
        sqlite::publish_checked(&queue, TASKS).await?;
        sample("RSS with a million tasks published")?;
        let worker = sqlite::worker(&queue, &events).build()?;
        let statistics = worker.statistics();
        sqlite::run_while(worker, async {
            for percent in [25, 50, 75, 100] {
                while statistics.completed() < (TASKS / 100 * percent) as u64 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                sample(&format!("RSS with {percent} % drained"))?;
            }
            Ok(())
        })
        .await?
    })
}

fn sample(what: &str) -> Result<(), Failed> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let rss = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next())
        .ok_or("this system tells no VmRSS")?;
    println!("{what}\t{rss}");
    Ok(())
}
