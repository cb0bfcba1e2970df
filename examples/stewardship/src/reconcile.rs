//! The way to the right end state if every event was lost.
//!
//! Reconcilers take monitors one by one, each in a transaction of its own, so that the application
//! goes on beside them and one monitor's failure does not stop the sweep.

use events_core::prelude::*;
use events_sqlx::QueueError;

use crate::database::Queue;
use crate::inheritance::{self, Converged};

/// Converges the inherited stewards of all monitors, or of those whose keys are given.
///
/// # Errors
/// The monitors could not be listed.
#[reconciles]
pub async fn steward_inheritance(scope: Scope, queue: State<Queue>) -> Result<Report, sqlx::Error> {
    let mut report = Report::default();
    for key in monitors(scope, &queue).await? {
        report.checked += 1;
        match converge_stewards(&queue, &key).await {
            Ok(changed) => {
                report.added += changed.added;
                report.removed += changed.removed;
            }
            Err(error) => report.failed.push((key, error.to_string())),
        }
    }
    Ok(report)
}

/// Recounts the activity of all monitors, or of those whose keys are given. In its report, `added`
/// counts the monitors whose activity was wrong.
///
/// # Errors
/// The monitors could not be listed.
#[reconciles]
pub async fn monitor_activity(scope: Scope, queue: State<Queue>) -> Result<Report, sqlx::Error> {
    let mut report = Report::default();
    for key in monitors(scope, &queue).await? {
        report.checked += 1;
        match recount(&queue, &key).await {
            Ok(changed) => report.added += changed,
            Err(error) => report.failed.push((key, error.to_string())),
        }
    }
    Ok(report)
}

async fn monitors(scope: Scope, queue: &Queue) -> Result<Vec<String>, sqlx::Error> {
    match scope {
        Scope::Keys(keys) => Ok(keys),
        Scope::All => {
            sqlx::query_scalar("SELECT key FROM monitor_configs ORDER BY key")
                .fetch_all(queue.pool())
                .await
        }
    }
}

async fn converge_stewards(queue: &Queue, key: &str) -> Result<Converged, ReconcileFailure> {
    let mut transaction = queue.begin().await?;
    let taken = inheritance::take_monitor(&mut transaction, key).await?;
    let changed = inheritance::converge(&mut transaction, &taken).await?;
    transaction.commit().await?;
    Ok(changed)
}

/// How many of the monitor's types of operation were counted wrongly.
async fn recount(queue: &Queue, key: &str) -> Result<u64, ReconcileFailure> {
    let mut transaction = queue.begin().await?;
    inheritance::take_monitor(&mut transaction, key).await?;
    let wrong: Vec<String> = sqlx::query_scalar(
        "SELECT done.operation_type
         FROM (SELECT operation_type, count(*) AS operations, max(completed_at_micros) AS last
               FROM monitor_operations
               WHERE monitor_config_key = $1
               GROUP BY operation_type) AS done
         LEFT JOIN monitor_activity AS kept
             ON kept.monitor_config_key = $1 AND kept.operation_type = done.operation_type
         WHERE kept.operations IS DISTINCT FROM done.operations
            OR kept.last_completed_at_micros IS DISTINCT FROM done.last",
    )
    .bind(key)
    .fetch_all(&mut *transaction)
    .await?;
    for operation_type in &wrong {
        inheritance::count_operations(&mut transaction, key, operation_type).await?;
    }
    transaction.commit().await?;
    Ok(wrong.len() as u64)
}

/// Why one monitor could not be reconciled.
#[derive(Debug, thiserror::Error)]
enum ReconcileFailure {
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}
