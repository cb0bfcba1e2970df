//! Connections.

use super::{Session, StoreError, Thing};
use crate::database::Connection;

/// Creates a connection config.
///
/// # Errors
/// It exists already, or the database failed.
pub async fn create(session: &mut Session, id: &str) -> Result<(), StoreError> {
    let inserted =
        sqlx::query("INSERT INTO connection_configs (id) VALUES ($1) ON CONFLICT DO NOTHING")
            .bind(id)
            .execute(&mut **session)
            .await?;
    Thing::Connection.created(id, inserted.rows_affected())
}

/// Deletes a connection config. Its links go along in the database, its monitors live on and watch
/// nothing. Nothing is published: what they have inherited over it stays until the reconciler comes.
///
/// # Errors
/// It is unknown, or the database failed.
pub async fn delete(session: &mut Session, id: &str) -> Result<(), StoreError> {
    Thing::Connection.delete(session, id).await
}

/// The ids of connection configs after this one, in order; at most so many.
///
/// # Errors
/// The database failed, or does not take the id.
pub async fn list(
    connection: &mut Connection,
    after: &str,
    limit: i64,
) -> Result<Vec<String>, StoreError> {
    let ids =
        sqlx::query_scalar("SELECT id FROM connection_configs WHERE id > $1 ORDER BY id LIMIT $2")
            .bind(after)
            .bind(limit)
            .fetch_all(connection)
            .await?;
    Ok(ids)
}

/// The systems that are reached through a connection config, in order.
///
/// # Errors
/// The connection config is unknown, or the database failed.
pub async fn systems(connection: &mut Connection, id: &str) -> Result<Vec<String>, StoreError> {
    let systems: Vec<String> = sqlx::query_scalar(
        "SELECT system_id FROM system_connection_config_links
         WHERE connection_config_id = $1 ORDER BY system_id",
    )
    .bind(id)
    .fetch_all(&mut *connection)
    .await?;
    if systems.is_empty() {
        Thing::Connection.require(connection, id).await?;
    }
    Ok(systems)
}
