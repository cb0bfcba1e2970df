//! What follows from the events: monitors inherit the stewards of the systems they watch.
//!
//! Each handler takes the transaction in which its task completes, takes the monitors that the
//! event may concern, reads what is true now and converges them. The order of events, and how
//! often one is seen, therefore do not matter.

use events_core::prelude::*;
use events_sqlx::EventTransaction;

use crate::database::Database;
use crate::events::{
    MonitorConnectionReassigned, MonitorInheritanceFlagChanged, MonitorOperationCompleted,
    SystemConnectionLinkChanged, SystemDataStewardsChanged,
};
use crate::reconcile::{aggregate_statistics, steward_inheritance};
use crate::{inheritance, statistics};

/// Gives a system's stewards to the monitors that watch it, and takes from them who left.
///
/// Its queue, retries and timeout stand here to be seen; they are those of the settings, where the
/// other handlers have them from.
///
/// # Errors
/// The database failed; the task is tried again.
#[subscribes_to(
    SystemDataStewardsChanged,
    queue = "stewardship",
    max_retries = 8,
    timeout = "30s",
    reconciled_by = steward_inheritance
)]
pub async fn inherit_from_system(
    event: SystemDataStewardsChanged,
    tx: &mut EventTransaction<Database>,
) -> Result<(), sqlx::Error> {
    let monitors = inheritance::take_monitors_of_system(tx, &event.system_id).await?;
    inheritance::converge(tx, &monitors).await?;
    Ok(())
}

/// Follows the link of a system to a connection config, for the monitors that watch it.
///
/// # Errors
/// The database failed; the task is tried again.
#[subscribes_to(SystemConnectionLinkChanged, reconciled_by = steward_inheritance)]
pub async fn inherit_over_link(
    event: SystemConnectionLinkChanged,
    tx: &mut EventTransaction<Database>,
) -> Result<(), sqlx::Error> {
    let monitors =
        inheritance::take_monitors_of_connection(tx, &event.connection_config_id).await?;
    inheritance::converge(tx, &monitors).await?;
    Ok(())
}

/// Begins or ends a monitor's inheritance.
///
/// # Errors
/// The database failed; the task is tried again.
#[subscribes_to(MonitorInheritanceFlagChanged, reconciled_by = steward_inheritance)]
pub async fn follow_inheritance_flag(
    event: MonitorInheritanceFlagChanged,
    tx: &mut EventTransaction<Database>,
) -> Result<(), sqlx::Error> {
    let monitors = inheritance::take_monitor(tx, &event.monitor_config_key).await?;
    inheritance::converge(tx, &monitors).await?;
    Ok(())
}

/// Exchanges a monitor's inherited stewards when it watches something else.
///
/// # Errors
/// The database failed; the task is tried again.
#[subscribes_to(MonitorConnectionReassigned, reconciled_by = steward_inheritance)]
pub async fn follow_reassigned_connection(
    event: MonitorConnectionReassigned,
    tx: &mut EventTransaction<Database>,
) -> Result<(), sqlx::Error> {
    let monitors = inheritance::take_monitor(tx, &event.monitor_config_key).await?;
    inheritance::converge(tx, &monitors).await?;
    Ok(())
}

/// Computes a monitor's statistics after it has completed operations: once for all that come within
/// the window, and at the latest thirty seconds after the first, however busy the monitor is.
///
/// # Errors
/// The database failed; the task is tried again.
#[subscribes_to(
    MonitorOperationCompleted,
    queue = "statistics",
    debounce = "1s",
    debounce_by = monitor_config_key,
    debounce_max = "30s",
    reconciled_by = aggregate_statistics
)]
pub async fn recompute_statistics(
    event: MonitorOperationCompleted,
    tx: &mut EventTransaction<Database>,
) -> Result<(), sqlx::Error> {
    let monitor = inheritance::take_monitor(tx, &event.monitor_config_key).await?;
    let now = tx.pending_events().events().now();
    statistics::recompute(tx, &monitor, now).await?;
    Ok(())
}
