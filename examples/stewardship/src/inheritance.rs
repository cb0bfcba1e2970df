//! The first part of the derived state: which stewards a monitor inherits.
//!
//! Whoever converges a monitor first takes it, by reading its key here in the order of keys, and
//! only then reads what is true. On SQLite the transaction has held the only write lock since its
//! `BEGIN IMMEDIATE`; on PostgreSQL these selects lock the monitors' rows (`taking` in
//! [`database`](crate::database)), in one order, so that handlers never wait for each other in a
//! circle. Two handlers that work on one monitor thus follow each other, and the later one sees all
//! that the earlier one saw and more, so that no stale row survives.

use crate::database::{Connection, one_of, taking};

/// Monitors that a transaction has taken: their keys, as a list in JSON. One row instead of many, and
/// ready to be bound to the statements that follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken(String);

impl Taken {
    /// As the parameter of a statement.
    pub(crate) fn as_json(&self) -> &str {
        &self.0
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0 == "[]"
    }
}

/// What converging changed, in rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Converged {
    /// Rows that were missing.
    pub added: u64,
    /// Rows that were wrong.
    pub removed: u64,
}

/// Takes the monitors whose inherited stewards depend on this system, or show that they did.
///
/// # Errors
/// The database failed.
pub async fn take_monitors_of_system(
    connection: &mut Connection,
    system_id: &str,
) -> Result<Taken, sqlx::Error> {
    sqlx::query_scalar(taking!(
        "SELECT key FROM monitor_configs WHERE key IN (
             SELECT monitors.key
             FROM system_connection_config_links AS links
             JOIN monitor_configs AS monitors
                 ON monitors.connection_config_id = links.connection_config_id
             WHERE links.system_id = $1 AND monitors.inherit_system_stewards
             UNION
             SELECT monitor_config_key FROM monitor_stewards WHERE source_system_id = $1)
         ORDER BY key"
    ))
    .bind(system_id)
    .fetch_one(connection)
    .await
    .map(Taken)
}

/// Takes the monitors that watch this connection config.
///
/// # Errors
/// The database failed.
pub async fn take_monitors_of_connection(
    connection: &mut Connection,
    connection_config_id: &str,
) -> Result<Taken, sqlx::Error> {
    sqlx::query_scalar(taking!(
        "SELECT key FROM monitor_configs WHERE connection_config_id = $1 ORDER BY key"
    ))
    .bind(connection_config_id)
    .fetch_one(connection)
    .await
    .map(Taken)
}

/// Takes this monitor; none if it is gone.
///
/// # Errors
/// The database failed.
pub async fn take_monitor(connection: &mut Connection, key: &str) -> Result<Taken, sqlx::Error> {
    sqlx::query_scalar(taking!("SELECT key FROM monitor_configs WHERE key = $1"))
        .bind(key)
        .fetch_one(connection)
        .await
        .map(Taken)
}

/// Takes those of these monitors that there are; their keys are a list in JSON.
///
/// # Errors
/// The database failed.
pub async fn take_monitors(connection: &mut Connection, keys: &str) -> Result<Taken, sqlx::Error> {
    sqlx::query_scalar(taking!(concat!(
        "SELECT key FROM monitor_configs WHERE ",
        one_of!("key", "$1"),
        " ORDER BY key"
    )))
    .bind(keys)
    .fetch_one(connection)
    .await
    .map(Taken)
}

/// Makes the inherited rows of these monitors exactly those that are due. Doing it again changes
/// nothing; explicit rows are not touched.
///
/// # Errors
/// The database failed.
pub async fn converge(
    connection: &mut Connection,
    monitors: &Taken,
) -> Result<Converged, sqlx::Error> {
    if monitors.is_empty() {
        return Ok(Converged::default());
    }
    let removed = sqlx::query(concat!(
        "DELETE FROM monitor_stewards
         WHERE source_system_id IS NOT NULL
           AND NOT EXISTS (
               SELECT 1 FROM due_inherited_stewards AS due
               WHERE due.monitor_config_key = monitor_stewards.monitor_config_key
                 AND due.source_system_id = monitor_stewards.source_system_id
                 AND due.user_id = monitor_stewards.user_id)
           AND ",
        one_of!("monitor_config_key", "$1"),
    ))
    .bind(&monitors.0)
    .execute(&mut *connection)
    .await?;
    let added = sqlx::query(concat!(
        "INSERT INTO monitor_stewards (user_id, monitor_config_key, source, source_system_id)
         SELECT user_id, monitor_config_key, 'inherited', source_system_id
         FROM due_inherited_stewards
         WHERE ",
        one_of!("monitor_config_key", "$1"),
        " ON CONFLICT DO NOTHING",
    ))
    .bind(&monitors.0)
    .execute(&mut *connection)
    .await?;
    Ok(Converged { added: added.rows_affected(), removed: removed.rows_affected() })
}
