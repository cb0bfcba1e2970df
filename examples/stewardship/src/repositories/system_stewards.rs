//! Who is a data steward of which system.

use std::collections::BTreeSet;

use events_core::prelude::*;

use super::{Session, StoreError, Thing};
use crate::database::locked;
use crate::events::{ADDED, REMOVED, SystemDataStewardsChanged};

/// Makes a user a steward of a system; nothing happens if they are one already.
///
/// # Errors
/// Either is unknown, or the database failed.
pub async fn add(session: &mut Session, system_id: &str, user_id: &str) -> Result<(), StoreError> {
    match insert(session, system_id, user_id).await? {
        true => Ok(()),
        false => require(session, system_id, user_id).await,
    }
}

/// Ends a user's stewardship of a system; nothing happens if they are no steward of it.
///
/// # Errors
/// Either is unknown, or the database failed.
pub async fn remove(
    session: &mut Session,
    system_id: &str,
    user_id: &str,
) -> Result<(), StoreError> {
    match delete(session, system_id, user_id).await? {
        true => Ok(()),
        false => require(session, system_id, user_id).await,
    }
}

/// What setting all systems of a user has changed, each sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// The systems that they are a steward of now and were not.
    pub added: Vec<String>,
    /// The systems that they were a steward of and are not.
    pub removed: Vec<String>,
}

/// Makes a user the steward of exactly these systems. Only what differs is changed and published:
/// first what they lose, then what they gain, each sorted.
///
/// # Errors
/// The user or one of the systems is unknown, or the database failed.
pub async fn set_managed_systems<S: AsRef<str>>(
    session: &mut Session,
    user_id: &str,
    system_ids: &[S],
) -> Result<Difference, StoreError> {
    let wanted: BTreeSet<&str> = system_ids.iter().map(AsRef::as_ref).collect();
    take(session, user_id).await?;
    for system_id in &wanted {
        Thing::System.require(session, system_id).await?;
    }
    let managed: Vec<String> = sqlx::query_scalar(
        "SELECT system_id FROM system_managers WHERE user_id = $1 ORDER BY system_id",
    )
    .bind(user_id)
    .fetch_all(&mut **session)
    .await?;
    let mut difference = Difference::default();
    for lost in managed.iter().filter(|system| !wanted.contains(system.as_str())) {
        // Whoever names the two alone does not take the user, and may have been faster.
        if delete(session, lost, user_id).await? {
            difference.removed.push(lost.clone());
        }
    }
    let managed: BTreeSet<&str> = managed.iter().map(String::as_str).collect();
    for gained in wanted.difference(&managed) {
        if insert(session, gained, user_id).await? {
            difference.added.push((*gained).to_owned());
        }
    }
    Ok(difference)
}

/// Takes the user, so that of two who set their systems at once the later one sees what the earlier
/// one has set.
async fn take(session: &mut Session, user_id: &str) -> Result<(), StoreError> {
    let taken: Option<String> = sqlx::query_scalar(locked!("SELECT id FROM users WHERE id = $1"))
        .bind(user_id)
        .fetch_optional(&mut **session)
        .await?;
    taken.map(drop).ok_or_else(|| Thing::User.unknown(user_id))
}

/// Nothing changed: it was so already, unless something is unknown.
async fn require(session: &mut Session, system_id: &str, user_id: &str) -> Result<(), StoreError> {
    Thing::System.require(session, system_id).await?;
    Thing::User.require(session, user_id).await
}

/// Whether it changed anything.
async fn insert(session: &mut Session, system_id: &str, user_id: &str) -> Result<bool, StoreError> {
    const INSERT: &str = "INSERT INTO system_managers (system_id, user_id)
        SELECT systems.id, users.id FROM systems, users WHERE systems.id = $1 AND users.id = $2
        ON CONFLICT DO NOTHING";
    change(session, INSERT, system_id, user_id, ADDED).await
}

/// Whether it changed anything.
async fn delete(session: &mut Session, system_id: &str, user_id: &str) -> Result<bool, StoreError> {
    const DELETE: &str = "DELETE FROM system_managers WHERE system_id = $1 AND user_id = $2";
    change(session, DELETE, system_id, user_id, REMOVED).await
}

#[publishes(SystemDataStewardsChanged)]
async fn change(
    session: &mut Session,
    statement: &'static str,
    system_id: &str,
    user_id: &str,
    change: &str,
) -> Result<bool, StoreError> {
    let changed =
        sqlx::query(statement).bind(system_id).bind(user_id).execute(&mut **session).await?;
    if changed.rows_affected() == 0 {
        return Ok(false);
    }
    publish_after_commit(
        session,
        SystemDataStewardsChanged {
            system_id: system_id.to_owned(),
            user_id: user_id.to_owned(),
            change: change.to_owned(),
        },
    )?;
    Ok(true)
}
