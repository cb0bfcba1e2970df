//! Monitors: what they watch, and whether they inherit stewards.

use events_core::prelude::*;

use super::{Session, StoreError, Thing};
use crate::database::Connection;
use crate::events::{MonitorConnectionReassigned, MonitorInheritanceFlagChanged};

/// A monitor, as it is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Monitor {
    /// What it is called.
    pub key: String,
    /// What it watches.
    pub connection_config_id: Option<String>,
    /// Whether it inherits the stewards of the systems that it watches.
    pub inherit_system_stewards: bool,
}

/// A row of what the selects here select.
type Row = (String, Option<String>, bool);

impl From<Row> for Monitor {
    fn from((key, connection_config_id, inherit_system_stewards): Row) -> Self {
        Self { key, connection_config_id, inherit_system_stewards }
    }
}

/// The monitor of this key.
///
/// # Errors
/// It is unknown, or the database failed.
pub async fn find(connection: &mut Connection, key: &str) -> Result<Monitor, StoreError> {
    let found: Option<Row> = sqlx::query_as(
        "SELECT key, connection_config_id, inherit_system_stewards
         FROM monitor_configs WHERE key = $1",
    )
    .bind(key)
    .fetch_optional(connection)
    .await?;
    found.map(Monitor::from).ok_or_else(|| Thing::Monitor.unknown(key))
}

/// The monitors whose keys are after this one, in order; at most so many.
///
/// # Errors
/// The database failed, or does not take the key.
pub async fn list(
    connection: &mut Connection,
    after: &str,
    limit: i64,
) -> Result<Vec<Monitor>, StoreError> {
    let monitors: Vec<Row> = sqlx::query_as(
        "SELECT key, connection_config_id, inherit_system_stewards
         FROM monitor_configs WHERE key > $1 ORDER BY key LIMIT $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    Ok(monitors.into_iter().map(Monitor::from).collect())
}

/// Creates a monitor; if it inherits stewards, that is published.
///
/// # Errors
/// It exists already, the connection config is unknown, or the database failed.
#[publishes(MonitorInheritanceFlagChanged)]
pub async fn create(
    session: &mut Session,
    key: &str,
    connection_config_id: Option<&str>,
    inherit_system_stewards: bool,
) -> Result<(), StoreError> {
    require_connection(session, connection_config_id).await?;
    let inserted = sqlx::query(
        "INSERT INTO monitor_configs (key, connection_config_id, inherit_system_stewards)
         VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
    )
    .bind(key)
    .bind(connection_config_id)
    .bind(inherit_system_stewards)
    .execute(&mut **session)
    .await?;
    Thing::Monitor.created(key, inserted.rows_affected())?;
    if inherit_system_stewards {
        publish_after_commit(
            session,
            MonitorInheritanceFlagChanged { monitor_config_key: key.to_owned(), enabled: true },
        )?;
    }
    Ok(())
}

/// Sets whether a monitor inherits stewards; nothing happens if it is set so already.
///
/// # Errors
/// The monitor is unknown, or the database failed.
#[publishes(MonitorInheritanceFlagChanged)]
pub async fn set_inheritance(
    session: &mut Session,
    key: &str,
    enabled: bool,
) -> Result<(), StoreError> {
    let updated = sqlx::query(
        "UPDATE monitor_configs SET inherit_system_stewards = $2
         WHERE key = $1 AND inherit_system_stewards <> $2",
    )
    .bind(key)
    .bind(enabled)
    .execute(&mut **session)
    .await?;
    if updated.rows_affected() == 0 {
        return Thing::Monitor.require(session, key).await; // it is so already, unless unknown
    }
    publish_after_commit(
        session,
        MonitorInheritanceFlagChanged { monitor_config_key: key.to_owned(), enabled },
    )?;
    Ok(())
}

/// Lets a monitor watch another connection config, or none; nothing happens if it does already.
///
/// # Errors
/// The monitor or the connection config is unknown, or the database failed.
#[publishes(MonitorConnectionReassigned)]
pub async fn reassign_connection(
    session: &mut Session,
    key: &str,
    connection_config_id: Option<&str>,
) -> Result<(), StoreError> {
    let updated = sqlx::query(
        "UPDATE monitor_configs SET connection_config_id = $2
         WHERE key = $1 AND connection_config_id IS DISTINCT FROM $2
           AND ($2 IS NULL OR EXISTS (SELECT 1 FROM connection_configs WHERE id = $2))",
    )
    .bind(key)
    .bind(connection_config_id)
    .execute(&mut **session)
    .await?;
    if updated.rows_affected() == 0 {
        // It is so already, unless something is unknown.
        Thing::Monitor.require(session, key).await?;
        return require_connection(session, connection_config_id).await;
    }
    publish_after_commit(
        session,
        MonitorConnectionReassigned {
            monitor_config_key: key.to_owned(),
            connection_config_id: connection_config_id.map(str::to_owned),
        },
    )?;
    Ok(())
}

/// Deletes a monitor. What was derived for it goes along in the database, so nothing is published.
///
/// # Errors
/// The monitor is unknown, or the database failed.
pub async fn delete(session: &mut Session, key: &str) -> Result<(), StoreError> {
    Thing::Monitor.delete(session, key).await
}

async fn require_connection(session: &mut Session, id: Option<&str>) -> Result<(), StoreError> {
    match id {
        Some(id) => Thing::Connection.require(session, id).await,
        None => Ok(()),
    }
}
