//! What is printed.

use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

/// Prints figures, and remembers which targets were missed.
pub(crate) struct Report {
    started: Instant,
    section: String,
    figures: usize,
    missed: Vec<String>,
}

impl Report {
    pub(crate) fn start() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        println!("{processors} processors, {} {}", std::env::consts::OS, std::env::consts::ARCH);
        Self { started: Instant::now(), section: String::new(), figures: 0, missed: Vec::new() }
    }

    pub(crate) fn section(&mut self, name: &str) {
        println!("\n{name}");
        name.clone_into(&mut self.section);
    }

    /// A figure that has no target.
    pub(crate) fn figure(&mut self, what: &str, figure: &str) {
        self.figures += 1;
        println!("  {what:<58} {figure}");
    }

    /// A figure that has one.
    pub(crate) fn target(&mut self, what: &str, figure: &str, target: &str, met: bool) {
        self.figures += 1;
        let verdict = if met { "met" } else { "MISSED" };
        println!("  {what:<58} {figure}  [{target}: {verdict}]");
        if !met {
            self.missed.push(format!("{}: {what}: {figure}, target {target}", self.section));
        }
    }

    pub(crate) fn failed(&mut self, error: &dyn Error) {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        println!("  could not be measured: {text}");
        self.missed.push(format!("{}: could not be measured", self.section));
    }

    pub(crate) fn finish(self) -> ExitCode {
        println!("\n{} figures in {} seconds", self.figures, self.started.elapsed().as_secs());
        if self.missed.is_empty() {
            println!("every target met");
            return ExitCode::SUCCESS;
        }
        println!("missed:");
        for missed in &self.missed {
            println!("  {missed}");
        }
        ExitCode::FAILURE
    }
}
