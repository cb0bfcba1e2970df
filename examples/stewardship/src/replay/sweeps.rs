//! The sweeps of a replay: those that its log asks for, and the one in the end.

use std::fmt;

use events_core::{Report, Scope};

use super::ReplayError;
use crate::database::Queue;
use crate::reconcile;

/// What one sweep came to: each reconciler's report.
pub type Reports = Vec<(&'static str, Report)>;

/// Runs every reconciler over everything.
pub(super) async fn sweep(queue: &Queue) -> Result<Reports, ReplayError> {
    Ok(reconcile::everything(queue, &Scope::All).await?)
}

/// What several sweeps came to.
#[derive(Debug, Clone, Default)]
pub struct Swept {
    /// How many they were.
    pub sweeps: u64,
    /// All of their reports.
    pub total: Report,
}

impl Swept {
    pub(super) fn add(&mut self, reports: Reports) {
        self.sweeps += 1;
        for (_, report) in reports {
            self.total.checked += report.checked;
            self.total.added += report.added;
            self.total.removed += report.removed;
            self.total.failed.extend(report.failed);
        }
    }
}

/// A report, in numbers.
pub struct InNumbers<'r>(pub &'r Report);

impl fmt::Display for InNumbers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { checked, added, removed, failed } = self.0;
        write!(f, "{checked} checked, {added} added, {removed} removed, {} failed", failed.len())
    }
}
