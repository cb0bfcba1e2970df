//! What happens in this application, as far as others may care.
//!
//! Events carry identifiers, not state: a handler runs later and reads what is true then.

use events_core::prelude::*;

/// A system gained or lost a data steward.
#[derive(Event, Debug, Clone, PartialEq, Eq)]
pub struct SystemDataStewardsChanged {
    /// The system.
    pub system_id: String,
    /// The steward.
    pub user_id: String,
    /// [`ADDED`] or [`REMOVED`].
    pub change: String,
}

/// A system was linked to a connection config, or unlinked.
#[derive(Event, Debug, Clone, PartialEq, Eq)]
pub struct SystemConnectionLinkChanged {
    /// The system.
    pub system_id: String,
    /// The connection config.
    pub connection_config_id: String,
    /// [`ADDED`] or [`REMOVED`].
    pub change: String,
}

/// A monitor began or ceased to inherit stewards; also published when it is created inheriting.
#[derive(Event, Debug, Clone, PartialEq, Eq)]
pub struct MonitorInheritanceFlagChanged {
    /// The monitor.
    pub monitor_config_key: String,
    /// Whether it inherits now.
    pub enabled: bool,
}

/// A monitor watches another connection config than before, or none.
#[derive(Event, Debug, Clone, PartialEq, Eq)]
pub struct MonitorConnectionReassigned {
    /// The monitor.
    pub monitor_config_key: String,
    /// What it watches now.
    pub connection_config_id: Option<String>,
}

/// A monitor completed an operation, such as a check.
#[derive(Event, Debug, Clone, PartialEq, Eq)]
pub struct MonitorOperationCompleted {
    /// The monitor.
    pub monitor_config_key: String,
    /// What kind of operation.
    pub operation_type: String,
}

/// The `change` of something that is there now and was not.
pub const ADDED: &str = "added";
/// The `change` of something that was there and is not.
pub const REMOVED: &str = "removed";
