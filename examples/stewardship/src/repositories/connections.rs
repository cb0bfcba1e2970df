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
