//! Which systems are reached through which connection config.

use events_core::prelude::*;

use super::{Session, StoreError, Thing};
use crate::events::{ADDED, REMOVED, SystemConnectionLinkChanged};

/// Links a system to a connection config; nothing happens if it is linked already.
///
/// # Errors
/// Either is unknown, or the database failed.
pub async fn link(
    session: &mut Session,
    system_id: &str,
    connection_config_id: &str,
) -> Result<(), StoreError> {
    const INSERT: &str = "INSERT INTO system_connection_config_links
        (system_id, connection_config_id)
        SELECT systems.id, connection_configs.id FROM systems, connection_configs
        WHERE systems.id = $1 AND connection_configs.id = $2
        ON CONFLICT DO NOTHING";
    change(session, INSERT, system_id, connection_config_id, ADDED).await
}

/// Unlinks a system from a connection config; nothing happens if it is not linked.
///
/// # Errors
/// Either is unknown, or the database failed.
pub async fn unlink(
    session: &mut Session,
    system_id: &str,
    connection_config_id: &str,
) -> Result<(), StoreError> {
    const DELETE: &str = "DELETE FROM system_connection_config_links
        WHERE system_id = $1 AND connection_config_id = $2";
    change(session, DELETE, system_id, connection_config_id, REMOVED).await
}

#[publishes(SystemConnectionLinkChanged)]
async fn change(
    session: &mut Session,
    statement: &'static str,
    system_id: &str,
    connection_config_id: &str,
    change: &str,
) -> Result<(), StoreError> {
    let changed = sqlx::query(statement)
        .bind(system_id)
        .bind(connection_config_id)
        .execute(&mut **session)
        .await?;
    if changed.rows_affected() == 0 {
        // It is so already, unless something is unknown.
        Thing::System.require(session, system_id).await?;
        return Thing::Connection.require(session, connection_config_id).await;
    }
    publish_after_commit(
        session,
        SystemConnectionLinkChanged {
            system_id: system_id.to_owned(),
            connection_config_id: connection_config_id.to_owned(),
            change: change.to_owned(),
        },
    )?;
    Ok(())
}
