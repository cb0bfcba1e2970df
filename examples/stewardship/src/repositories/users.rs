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
