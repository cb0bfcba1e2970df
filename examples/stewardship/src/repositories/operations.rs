//! The operations that monitors complete, and what becomes of the resources they found.

use events_core::Session as _;
use events_core::prelude::*;

use super::{Session, StoreError, Thing};
use crate::database::{Connection, one_of};
use crate::events::MonitorOperationCompleted;

/// The operation that finds resources.
pub const EXECUTION: &str = "monitor_execution";

/// Moves resources from one of some statuses to another.
struct Step {
    operation: &'static str,
    /// A list in JSON.
    from: &'static str,
    to: &'static str,
}

const STEPS: [Step; 6] = [
    Step { operation: "classify", from: r#"["addition"]"#, to: "classified" },
    Step { operation: "review", from: r#"["addition","classified"]"#, to: "reviewed" },
    Step { operation: "confirm", from: r#"["addition","classified","reviewed"]"#, to: "confirmed" },
    Step { operation: "promote", from: r#"["reviewed","confirmed"]"#, to: "promoted" },
    Step {
        operation: "mute",
        from: r#"["addition","classified","reviewed","confirmed"]"#,
        to: "muted",
    },
    Step { operation: "unmute", from: r#"["muted"]"#, to: "addition" },
];

/// A resource that a monitor has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// What it is called.
    pub urn: String,
    /// How far it has come.
    pub status: String,
}

/// The resources of a monitor after this one, in order; at most so many.
///
/// # Errors
/// The monitor is unknown, or the database failed.
pub async fn resources(
    connection: &mut Connection,
    key: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<Resource>, StoreError> {
    let found: Vec<(String, String)> = sqlx::query_as(
        "SELECT urn, status FROM staged_resources
         WHERE monitor_config_key = $1 AND urn > $2 ORDER BY urn LIMIT $3",
    )
    .bind(key)
    .bind(after)
    .bind(limit)
    .fetch_all(&mut *connection)
    .await?;
    if found.is_empty() {
        Thing::Monitor.require(connection, key).await?;
    }
    Ok(found.into_iter().map(|(urn, status)| Resource { urn, status }).collect())
}

/// The statistics of a monitor, as they were computed; `None` if it has completed nothing, or that
/// was just now.
///
/// # Errors
/// The monitor is unknown, or the database failed.
pub async fn statistics(
    connection: &mut Connection,
    key: &str,
) -> Result<Option<Statistics>, StoreError> {
    let computed: Option<StatisticsRow> = sqlx::query_as(
        "SELECT addition, classified, reviewed, confirmed, promoted, muted, operations,
             last_completed_at_micros, computed_at_micros
         FROM monitor_aggregate_statistics WHERE monitor_config_key = $1",
    )
    .bind(key)
    .fetch_optional(&mut *connection)
    .await?;
    if computed.is_none() {
        Thing::Monitor.require(connection, key).await?;
    }
    Ok(computed.map(Statistics::from))
}

/// How many resources a monitor has in which status, and what it has completed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the statuses
pub struct Statistics {
    pub addition: i64,
    pub classified: i64,
    pub reviewed: i64,
    pub confirmed: i64,
    pub promoted: i64,
    pub muted: i64,
    /// How many operations.
    pub operations: i64,
    /// When the last of them was completed.
    pub last_completed_at_micros: i64,
    /// When all this was computed.
    pub computed_at_micros: i64,
}

type StatisticsRow = (i64, i64, i64, i64, i64, i64, i64, i64, i64);

impl From<StatisticsRow> for Statistics {
    fn from(row: StatisticsRow) -> Self {
        let (
            addition,
            classified,
            reviewed,
            confirmed,
            promoted,
            muted,
            operations,
            last,
            computed,
        ) = row;
        Self {
            addition,
            classified,
            reviewed,
            confirmed,
            promoted,
            muted,
            operations,
            last_completed_at_micros: last,
            computed_at_micros: computed,
        }
    }
}

/// Records that a monitor has completed an operation, and does to its resources what the operation
/// means: [`EXECUTION`] stages resources, `classify`, `review`, `confirm`, `promote`, `mute` and
/// `unmute` move those that are ready for it. One of another type is recorded and moves nothing.
///
/// It is about the resources that are named. If none is, an execution finds one new resource, and
/// the others are about all resources of the monitor. Every one is published.
///
/// # Errors
/// The monitor is unknown, the type's name is too long for an event, or the database failed.
#[publishes(MonitorOperationCompleted)]
pub async fn complete(
    session: &mut Session,
    key: &str,
    operation_type: &str,
    urns: &[String],
) -> Result<(), StoreError> {
    let now = session.pending_events().events().now();
    let inserted = sqlx::query(
        "INSERT INTO monitor_operations (monitor_config_key, operation_type, completed_at_micros)
         SELECT key, $2, $3 FROM monitor_configs WHERE key = $1",
    )
    .bind(key)
    .bind(operation_type)
    .bind(now.as_micros())
    .execute(&mut **session)
    .await?;
    if inserted.rows_affected() == 0 {
        return Thing::Monitor.require(session, key).await;
    }
    if operation_type == EXECUTION {
        stage(session, key, urns).await?;
    } else if let Some(step) = STEPS.iter().find(|step| step.operation == operation_type) {
        move_on(session, key, step, urns).await?;
    }
    publish_after_commit(
        session,
        MonitorOperationCompleted {
            monitor_config_key: key.to_owned(),
            operation_type: operation_type.to_owned(),
        },
    )?;
    Ok(())
}

/// What was found before keeps its status.
async fn stage(session: &mut Session, key: &str, urns: &[String]) -> Result<(), StoreError> {
    for urn in urns {
        insert(session, key, urn).await?;
    }
    if urns.is_empty() {
        let staged: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM staged_resources WHERE monitor_config_key = $1",
        )
        .bind(key)
        .fetch_one(&mut **session)
        .await?;
        let mut number = staged + 1;
        while !insert(session, key, &format!("{key}/{number}")).await? {
            number += 1; // somebody has named one so, or another execution was faster
        }
    }
    Ok(())
}

/// Whether it is new.
async fn insert(session: &mut Session, key: &str, urn: &str) -> Result<bool, StoreError> {
    let inserted = sqlx::query(
        "INSERT INTO staged_resources (urn, monitor_config_key, status)
         VALUES ($1, $2, 'addition') ON CONFLICT DO NOTHING",
    )
    .bind(urn)
    .bind(key)
    .execute(&mut **session)
    .await?;
    Ok(inserted.rows_affected() > 0)
}

async fn move_on(
    session: &mut Session,
    key: &str,
    step: &Step,
    urns: &[String],
) -> Result<(), StoreError> {
    const ALL: &str = concat!(
        "UPDATE staged_resources SET status = $2 WHERE monitor_config_key = $1 AND ",
        one_of!("status", "$3"),
    );
    const NAMED: &str = concat!(
        "UPDATE staged_resources SET status = $2 WHERE monitor_config_key = $1 AND ",
        one_of!("status", "$3"),
        " AND ",
        one_of!("urn", "$4"),
    );
    let query = sqlx::query(if urns.is_empty() { ALL } else { NAMED });
    let query = query.bind(key).bind(step.to).bind(step.from);
    let query = match urns {
        [] => query,
        named => query.bind(serde_json::to_string(named).expect("texts are JSON")),
    };
    query.execute(&mut **session).await?;
    Ok(())
}
