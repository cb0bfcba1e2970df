//! What a person sees while the replay runs: a bar on a terminal, a line now and then elsewhere.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::progress::Progress;

/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// On stderr, so that stdout is the report's alone.
pub(super) struct Display {
    bar: Option<ProgressBar>,
    lines: AtomicU64,
    last_line: Mutex<Instant>,
}

impl Display {
    /// For a log of so many bytes, of which some may be done.
    pub(super) fn new(size: u64, progress: &Progress) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            // A log of unknown size, such as a pipe, reports zero.
            let bar = ProgressBar::new(size.max(progress.position.bytes));
            bar.set_style(
                ProgressStyle::with_template("{bar:40.cyan/blue} {percent:>3}%  {msg}")
                    .unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar.set_position(progress.position.bytes);
            bar
        });
        let display = Self {
            bar,
            lines: AtomicU64::new(progress.lines),
            last_line: Mutex::new(Instant::now()),
        };
        if progress.lines > 0 {
            display.say(&format!("resuming after line {}", progress.lines));
        }
        display
    }

    /// Prints a line above the bar.
    pub(super) fn say(&self, text: &str) {
        let print = || {
            // Nobody may be listening, and the replay goes on.
            writeln!(std::io::stderr(), "{text}").ok();
        };
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    pub(super) fn applied(&self, progress: &Progress) {
        self.lines.store(progress.lines, Ordering::Relaxed);
        match &self.bar {
            Some(bar) => {
                bar.set_position(progress.position.bytes);
                bar.set_message(format!("line {}", progress.lines));
            }
            None => self.now_and_then(|| format!("line {}", progress.lines)),
        }
    }

    pub(super) fn draining(&self, tasks: u64) {
        let lines = self.lines.load(Ordering::Relaxed);
        let text = || format!("line {lines}, the log's last; {tasks} tasks to go");
        match &self.bar {
            Some(bar) => bar.set_message(text()),
            None => self.now_and_then(text),
        }
    }

    fn now_and_then(&self, text: impl FnOnce() -> String) {
        let mut last = self.last_line.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if last.elapsed() >= LINE_EVERY {
            *last = Instant::now();
            self.say(&text());
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
