//! Makes a change log of an organisation that grows: the same seed gives the same bytes.

mod names;
mod organisation;
mod random;

use crate::change_log::Change;
use organisation::Organisation;

/// The change log that is part of the program; `generate` with its defaults makes it.
pub const BUNDLED: &[u8] = include_bytes!("../data/organisation.jsonl");

/// What to generate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Where the randomness begins.
    pub seed: u64,
    /// How many lines.
    pub lines: usize,
    /// How many users there are in the end.
    pub users: usize,
    /// How many systems.
    pub systems: usize,
    /// How many connection configs.
    pub connections: usize,
    /// How many monitors.
    pub monitors: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            seed: 2026,
            lines: 24_000,
            users: 120,
            systems: 300,
            connections: 220,
            monitors: 1_000,
        }
    }
}

/// A plan that cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// Everything takes a line to create.
    #[error("{things} things cannot be created in {lines} lines; give --lines {things} or more")]
    TooFewLines {
        /// The lines asked for.
        lines: usize,
        /// The things asked for.
        things: usize,
    },
    /// Without one of each, hardly any operation is possible.
    #[error("give at least one user, system, connection and monitor")]
    Empty,
}

impl Plan {
    /// The change log, line by line. No line of it is refused.
    ///
    /// # Errors
    /// The plan cannot be carried out.
    pub fn changes(self) -> Result<impl Iterator<Item = Change>, PlanError> {
        let things = self.users + self.systems + self.connections + self.monitors;
        if [self.users, self.systems, self.connections, self.monitors].contains(&0) {
            return Err(PlanError::Empty);
        }
        if self.lines < things {
            return Err(PlanError::TooFewLines { lines: self.lines, things });
        }
        let mut organisation = Organisation::new(self);
        Ok((0..self.lines).map(move |line| organisation.next(self.lines - line)))
    }

    /// The change log as text, each line with its end.
    ///
    /// # Errors
    /// The plan cannot be carried out.
    pub fn text(self) -> Result<String, PlanError> {
        let mut text = String::new();
        for change in self.changes()? {
            text.push_str(&change.to_line());
            text.push('\n');
        }
        Ok(text)
    }
}
