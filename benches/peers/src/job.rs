//! What every contender carries.

use serde::{Deserialize, Serialize};

/// A hundred bytes of JSON, as in the comparisons that others publish.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) number: u64,
    pub(crate) monitor_config_key: String,
    pub(crate) operation_type: String,
}

impl Job {
    pub(crate) fn new(number: u64) -> Self {
        Self {
            number,
            monitor_config_key: "production-warehouse-monitor-0042".into(),
            operation_type: "classification".into(),
        }
    }

    pub(crate) fn json(number: u64) -> String {
        serde_json::to_string(&Self::new(number)).expect("strings and a number are JSON")
    }
}

/// What the handler of a task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handler {
    /// Nothing.
    Ignore,
    /// Inserts one row, in the transaction that completes its task.
    Record,
}

/// The row that a transactional handler writes.
pub(crate) const INSERT_EFFECT: &str = "INSERT INTO effects (number) VALUES ($1)";
pub(crate) const EFFECTS: &str = "CREATE TABLE IF NOT EXISTS effects (number bigint NOT NULL)";
