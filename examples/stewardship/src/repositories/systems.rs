//! Systems.

use super::{Session, StoreError, Thing};

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
