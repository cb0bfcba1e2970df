//! Connections.

use super::{Session, StoreError, Thing};

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
