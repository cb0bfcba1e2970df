//! The second part of the derived state: how many resources a monitor has found, by status, and what
//! it has completed.

use std::time::Duration;

use events_core::Timestamp;

use crate::database::{Connection, one_of};
use crate::inheritance::Taken;

/// How old statistics may become before a sweep computes them again, whether they look wrong or not.
/// A sweep on demand is given zero: it computes all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StaleAfter(pub Duration);

/// Computes the statistics of these monitors. Of how many they were wrong, or missing.
///
/// # Errors
/// The database failed.
pub async fn recompute(
    connection: &mut Connection,
    monitors: &Taken,
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    if monitors.is_empty() {
        return Ok(0);
    }
    let changed = sqlx::query(concat!(
        "INSERT INTO monitor_aggregate_statistics AS kept
             (monitor_config_key, addition, classified, reviewed, confirmed, promoted, muted,
                 operations, last_completed_at_micros, computed_at_micros)
         SELECT monitor_config_key, addition, classified, reviewed, confirmed, promoted, muted,
             operations, last_completed_at_micros, $2
         FROM due_statistics
         WHERE ",
        one_of!("monitor_config_key", "$1"),
        " ON CONFLICT (monitor_config_key) DO UPDATE
         SET addition = excluded.addition, classified = excluded.classified,
             reviewed = excluded.reviewed, confirmed = excluded.confirmed,
             promoted = excluded.promoted, muted = excluded.muted,
             operations = excluded.operations,
             last_completed_at_micros = excluded.last_completed_at_micros,
             computed_at_micros = excluded.computed_at_micros
         WHERE (kept.addition, kept.classified, kept.reviewed, kept.confirmed, kept.promoted,
                 kept.muted, kept.operations, kept.last_completed_at_micros)
             <> (excluded.addition, excluded.classified, excluded.reviewed, excluded.confirmed,
                 excluded.promoted, excluded.muted, excluded.operations,
                 excluded.last_completed_at_micros)",
    ))
    .bind(monitors.as_json())
    .bind(now.as_micros())
    .execute(&mut *connection)
    .await?;
    // Those that were right are now known to be.
    sqlx::query(concat!(
        "UPDATE monitor_aggregate_statistics SET computed_at_micros = $2
         WHERE computed_at_micros <> $2 AND ",
        one_of!("monitor_config_key", "$1"),
    ))
    .bind(monitors.as_json())
    .bind(now.as_micros())
    .execute(&mut *connection)
    .await?;
    Ok(changed.rows_affected())
}
