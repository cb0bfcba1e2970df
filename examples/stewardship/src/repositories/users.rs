//! Users.

use super::{Session, StoreError, Thing};

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
