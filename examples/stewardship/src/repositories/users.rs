//! Users.

use super::{Session, StoreError, Thing};
use crate::database::Connection;

/// Creates a user.
///
/// # Errors
/// It exists already, or the database failed.
pub async fn create(session: &mut Session, id: &str) -> Result<(), StoreError> {
    let inserted = sqlx::query("INSERT INTO users (id) VALUES ($1) ON CONFLICT DO NOTHING")
        .bind(id)
        .execute(&mut **session)
        .await?;
    Thing::User.created(id, inserted.rows_affected())
}

/// Deletes a user. Who stewards what goes along in the database, inherited or not, so that nothing
/// is left to be mended; nothing is published.
///
/// # Errors
/// It is unknown, or the database failed.
pub async fn delete(session: &mut Session, id: &str) -> Result<(), StoreError> {
    Thing::User.delete(session, id).await
}

/// The ids of users after this one, in order; at most so many.
///
/// # Errors
/// The database failed, or does not take the id.
pub async fn list(
    connection: &mut Connection,
    after: &str,
    limit: i64,
) -> Result<Vec<String>, StoreError> {
    let ids = sqlx::query_scalar("SELECT id FROM users WHERE id > $1 ORDER BY id LIMIT $2")
        .bind(after)
        .bind(limit)
        .fetch_all(connection)
        .await?;
    Ok(ids)
}

/// The systems that a user is a steward of, in order.
///
/// # Errors
/// The user is unknown, or the database failed.
pub async fn systems(connection: &mut Connection, id: &str) -> Result<Vec<String>, StoreError> {
    let systems: Vec<String> = sqlx::query_scalar(
        "SELECT system_id FROM system_managers WHERE user_id = $1 ORDER BY system_id",
    )
    .bind(id)
    .fetch_all(&mut *connection)
    .await?;
    if systems.is_empty() {
        Thing::User.require(connection, id).await?;
    }
    Ok(systems)
}
