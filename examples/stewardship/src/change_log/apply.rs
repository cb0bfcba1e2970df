//! From what a line asks for to the repositories.

use super::operation::{Change, Operation};
use crate::repositories::{
    Session, StoreError, connections, links, monitor_stewards, monitors, operations,
    system_stewards, systems, users,
};

/// Applies what a line asks for; a sweep asks for no change.
///
/// # Errors
/// An operation was refused, or the database failed: roll the transaction back.
pub async fn apply(session: &mut Session, change: &Change) -> Result<(), StoreError> {
    for operation in change.operations() {
        apply_operation(session, operation).await?;
    }
    Ok(())
}

async fn apply_operation(session: &mut Session, operation: &Operation) -> Result<(), StoreError> {
    match operation {
        Operation::CreateUser { user_id } => users::create(session, user_id).await,
        Operation::CreateSystem { system_id } => systems::create(session, system_id).await,
        Operation::CreateConnection { connection_config_id } => {
            connections::create(session, connection_config_id).await
        }
        Operation::CreateMonitor { key, connection_config_id, inherit_system_stewards } => {
            let connection = connection_config_id.as_deref();
            monitors::create(session, key, connection, *inherit_system_stewards).await
        }
        Operation::AddSteward { system_id, user_id } => {
            system_stewards::add(session, system_id, user_id).await
        }
        Operation::RemoveSteward { system_id, user_id } => {
            system_stewards::remove(session, system_id, user_id).await
        }
        Operation::SetManagedSystems { user_id, system_ids } => {
            system_stewards::set_managed_systems(session, user_id, system_ids).await.map(drop)
        }
        Operation::Link { system_id, connection_config_id } => {
            links::link(session, system_id, connection_config_id).await
        }
        Operation::Unlink { system_id, connection_config_id } => {
            links::unlink(session, system_id, connection_config_id).await
        }
        Operation::SetInheritance { key, enabled } => {
            monitors::set_inheritance(session, key, *enabled).await
        }
        Operation::ReassignConnection { key, connection_config_id } => {
            monitors::reassign_connection(session, key, connection_config_id.as_deref()).await
        }
        Operation::AddExplicitSteward { key, user_id } => {
            monitor_stewards::add_explicit(session, key, user_id).await
        }
        Operation::RemoveExplicitSteward { key, user_id } => {
            monitor_stewards::remove_explicit(session, key, user_id).await
        }
        Operation::Complete { key, operation_type } => {
            operations::complete(session, key, operation_type, &[]).await
        }
        Operation::DeleteUser { user_id } => users::delete(session, user_id).await,
        Operation::DeleteSystem { system_id } => systems::delete(session, system_id).await,
        Operation::DeleteConnection { connection_config_id } => {
            connections::delete(session, connection_config_id).await
        }
        Operation::DeleteMonitor { key } => monitors::delete(session, key).await,
    }
}
