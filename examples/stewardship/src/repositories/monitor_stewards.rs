//! The stewards that people gave to monitors. Inherited rows belong to the propagation.

use super::{Session, StoreError, Thing};

/// Makes a user an explicit steward of a monitor; nothing happens if they are one already.
///
/// # Errors
/// Either is unknown, or the database failed.
pub async fn add_explicit(
    session: &mut Session,
    key: &str,
    user_id: &str,
) -> Result<(), StoreError> {
    const INSERT: &str = "INSERT INTO monitor_stewards
        (monitor_config_key, user_id, source, source_system_id)
        SELECT monitor_configs.key, users.id, 'explicit', NULL FROM monitor_configs, users
        WHERE monitor_configs.key = $1 AND users.id = $2
        ON CONFLICT DO NOTHING";
    change(session, INSERT, key, user_id).await
}

/// Ends an explicit stewardship; nothing happens if there is none. What the user inherits stays.
///
/// # Errors
/// Either is unknown, or the database failed.
pub async fn remove_explicit(
    session: &mut Session,
    key: &str,
    user_id: &str,
) -> Result<(), StoreError> {
    const DELETE: &str = "DELETE FROM monitor_stewards
        WHERE monitor_config_key = $1 AND user_id = $2 AND source = 'explicit'";
    change(session, DELETE, key, user_id).await
}

async fn change(
    session: &mut Session,
    statement: &'static str,
    key: &str,
    user_id: &str,
) -> Result<(), StoreError> {
    let changed = sqlx::query(statement).bind(key).bind(user_id).execute(&mut **session).await?;
    if changed.rows_affected() == 0 {
        // It is so already, unless something is unknown.
        Thing::Monitor.require(session, key).await?;
        Thing::User.require(session, user_id).await?;
    }
    Ok(())
}
