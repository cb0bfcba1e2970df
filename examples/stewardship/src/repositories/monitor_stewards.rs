//! The stewards that people gave to monitors. Inherited rows belong to the propagation.

use super::{Session, StoreError, Thing};
use crate::database::Connection;

/// A steward of a monitor: made so by hand, or by the systems that the monitor watches, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steward {
    /// Who.
    pub user_id: String,
    /// Whether people decided so.
    pub explicit: bool,
    /// The systems that it is inherited from, in order.
    pub inherited_from: Vec<String>,
}

/// The stewards of a monitor after this user, in order; at most so many.
///
/// # Errors
/// The monitor is unknown, or the database failed.
pub async fn list(
    connection: &mut Connection,
    key: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<Steward>, StoreError> {
    let rows: Vec<(String, Option<String>)> = sqlx::query_as(
        "SELECT user_id, source_system_id FROM monitor_stewards
         WHERE monitor_config_key = $1 AND user_id IN (
             SELECT DISTINCT user_id FROM monitor_stewards
             WHERE monitor_config_key = $1 AND user_id > $2 ORDER BY user_id LIMIT $3)
         ORDER BY user_id, source_system_id",
    )
    .bind(key)
    .bind(after)
    .bind(limit)
    .fetch_all(&mut *connection)
    .await?;
    if rows.is_empty() {
        Thing::Monitor.require(connection, key).await?;
    }
    let mut stewards: Vec<Steward> = Vec::new();
    for (user_id, system) in rows {
        let explicit = system.is_none();
        match stewards.last_mut().filter(|last| last.user_id == user_id) {
            Some(steward) => {
                steward.explicit |= explicit;
                steward.inherited_from.extend(system);
            }
            None => stewards.push(Steward {
                user_id,
                explicit,
                inherited_from: system.into_iter().collect(),
            }),
        }
    }
    Ok(stewards)
}

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
