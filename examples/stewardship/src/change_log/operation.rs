//! What a line of the change log may ask for.

use serde::Serialize;

/// One line of the change log: what happens in one transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Change {
    /// One operation.
    One(Operation),
    /// Several operations, possibly rolled back.
    Many(Transaction),
    /// No change of the state: all reconcilers run.
    Sweep(Sweep),
}

/// All reconcilers run, over everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "op", rename = "reconcile")]
pub struct Sweep {}

/// Several operations in one transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "op", rename = "transaction")]
pub struct Transaction {
    /// The operations, in their order.
    pub ops: Vec<Operation>,
    /// Whether all of it is rolled back in the end.
    pub rollback: bool,
}

impl Change {
    /// Several operations in one transaction.
    #[must_use]
    pub fn transaction(ops: Vec<Operation>, rollback: bool) -> Self {
        Self::Many(Transaction { ops, rollback })
    }

    /// The operations, in their order.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        match self {
            Self::One(operation) => std::slice::from_ref(operation),
            Self::Many(transaction) => &transaction.ops,
            Self::Sweep(_) => &[],
        }
    }

    /// Whether the transaction is rolled back in the end.
    #[must_use]
    pub fn is_rolled_back(&self) -> bool {
        matches!(self, Self::Many(Transaction { rollback: true, .. }))
    }

    /// The line, without its end.
    ///
    /// # Panics
    /// Never: texts and flags are JSON.
    #[must_use]
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("texts and flags are JSON")
    }
}

/// One change of the application's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
#[allow(missing_docs)] // the fields are the words of the tables
pub enum Operation {
    /// A user appears.
    CreateUser { user_id: String },
    /// A system appears.
    CreateSystem { system_id: String },
    /// A connection config appears.
    CreateConnection { connection_config_id: String },
    /// A monitor appears.
    CreateMonitor {
        key: String,
        connection_config_id: Option<String>,
        inherit_system_stewards: bool,
    },
    /// A user becomes a steward of a system.
    AddSteward { system_id: String, user_id: String },
    /// A user is no steward of a system any more.
    RemoveSteward { system_id: String, user_id: String },
    /// A user is the steward of exactly these systems.
    SetManagedSystems { user_id: String, system_ids: Vec<String> },
    /// A system is reached through a connection config.
    Link { system_id: String, connection_config_id: String },
    /// A system is not reached through a connection config any more.
    Unlink { system_id: String, connection_config_id: String },
    /// A monitor inherits stewards, or does not.
    SetInheritance { key: String, enabled: bool },
    /// A monitor watches another connection config, or none.
    ReassignConnection { key: String, connection_config_id: Option<String> },
    /// A user is made a steward of a monitor by hand.
    AddExplicitSteward { key: String, user_id: String },
    /// A user who was made a steward of a monitor by hand is none any more.
    RemoveExplicitSteward { key: String, user_id: String },
    /// A user disappears.
    DeleteUser { user_id: String },
    /// A system disappears.
    DeleteSystem { system_id: String },
    /// A connection config disappears.
    DeleteConnection { connection_config_id: String },
    /// A monitor disappears.
    DeleteMonitor { key: String },
    /// A monitor has completed an operation.
    #[serde(rename = "operation")]
    Complete { key: String, operation_type: String },
}
