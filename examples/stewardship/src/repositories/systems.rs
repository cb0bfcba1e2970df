//! Systems.

use super::{Session, StoreError, Thing};
use crate::database::Connection;

/// Creates a system.
///
/// # Errors
/// It exists already, or the database failed.
pub async fn create(session: &mut Session, id: &str) -> Result<(), StoreError> {
    let inserted = sqlx::query("INSERT INTO systems (id) VALUES ($1) ON CONFLICT DO NOTHING")
        .bind(id)
        .execute(&mut **session)
        .await?;
    Thing::System.created(id, inserted.rows_affected())
}

/// Deletes a system. Its stewards and its links go along in the database and publish nothing: what
/// monitors have inherited from it stays until the reconciler comes.
///
/// # Errors
/// It is unknown, or the database failed.
pub async fn delete(session: &mut Session, id: &str) -> Result<(), StoreError> {
    Thing::System.delete(session, id).await
}

/// The ids of systems after this one, in order; at most so many.
///
/// # Errors
/// The database failed, or does not take the id.
pub async fn list(
    connection: &mut Connection,
    after: &str,
    limit: i64,
) -> Result<Vec<String>, StoreError> {
    let ids = sqlx::query_scalar("SELECT id FROM systems WHERE id > $1 ORDER BY id LIMIT $2")
        .bind(after)
        .bind(limit)
        .fetch_all(connection)
        .await?;
    Ok(ids)
}

/// A system's stewards and the connection configs that it is reached through, in order.
///
/// # Errors
/// The system is unknown, or the database failed.
pub async fn relations(
    connection: &mut Connection,
    id: &str,
) -> Result<(Vec<String>, Vec<String>), StoreError> {
    Thing::System.require(connection, id).await?;
    let stewards = sqlx::query_scalar(
        "SELECT user_id FROM system_managers WHERE system_id = $1 ORDER BY user_id",
    )
    .bind(id)
    .fetch_all(&mut *connection)
    .await?;
    let connections = sqlx::query_scalar(
        "SELECT connection_config_id FROM system_connection_config_links
         WHERE system_id = $1 ORDER BY connection_config_id",
    )
    .bind(id)
    .fetch_all(&mut *connection)
    .await?;
    Ok((stewards, connections))
}
