//! Tells which lines were refused, and why; without flooding the terminal.

use super::display::Display;

/// How many refusals are told in full.
const TOLD: u64 = 20;

/// How many characters of a reason are told: it may quote a very long name.
const REASON_CHARACTERS: usize = 400;

/// What this run has refused.
#[derive(Debug)]
pub(super) struct Refusals {
    verbose: bool,
    count: u64,
}

impl Refusals {
    pub(super) fn new(verbose: bool) -> Self {
        Self { verbose, count: 0 }
    }

    pub(super) fn report(&mut self, display: &Display, line: u64, reason: &str) {
        self.count += 1;
        if self.verbose || self.count <= TOLD {
            display.say(&format!("line {line} refused: {}", shortened(reason)));
        }
    }

    pub(super) fn summarise(&self, display: &Display) {
        if !self.verbose && self.count > TOLD {
            let untold = self.count - TOLD;
            display.say(&format!("{untold} more lines refused; --verbose tells all of them"));
        }
    }
}

fn shortened(reason: &str) -> String {
    match reason.char_indices().nth(REASON_CHARACTERS) {
        Some((end, _)) => format!("{}…", &reason[..end]),
        None => reason.to_owned(),
    }
}
