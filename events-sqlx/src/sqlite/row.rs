//! Rows read back.

use std::sync::Arc;

use events_core::broker::{AttemptError, Lease};
use events_core::task::Headers;
use events_core::{BoxError, EventId, Task, TaskId, Timestamp};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::error::QueueError;

/// Names one claim of one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqliteReceipt {
    pub(super) seq: i64,
    pub(super) fence: i64,
}

/// Reads a column, naming it when it cannot be read.
pub(super) fn get<'r, T>(row: &'r SqliteRow, column: &'static str) -> Result<T, QueueError>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(column).map_err(|error| unreadable(column)(error.into()))
}

fn unreadable(column: &'static str) -> impl Fn(BoxError) -> QueueError {
    move |source| QueueError::Row { column, source }
}

/// A column of 16 bytes.
pub(super) fn id(row: &SqliteRow, column: &'static str) -> Result<[u8; 16], QueueError> {
    let bytes: &[u8] = get(row, column)?;
    bytes
        .try_into()
        .map_err(|error: std::array::TryFromSliceError| unreadable(column)(error.into()))
}

pub(super) fn timestamp(row: &SqliteRow, column: &'static str) -> Result<Timestamp, QueueError> {
    get(row, column).map(Timestamp::from_micros)
}

pub(super) fn headers(row: &SqliteRow) -> Result<Headers, QueueError> {
    match get::<Option<&str>>(row, "headers")? {
        None => Ok(Headers::new()),
        Some(json) => Headers::from_json(json).map_err(|error| unreadable("headers")(error.into())),
    }
}

pub(super) fn errors(row: &SqliteRow) -> Result<Vec<AttemptError>, QueueError> {
    serde_json::from_str(get(row, "errors")?).map_err(|error| unreadable("errors")(error.into()))
}

/// A claimed task, with its place in the order of publishing.
pub(super) fn lease(row: &SqliteRow) -> Result<Lease<SqliteReceipt>, QueueError> {
    let text = |column| get::<String>(row, column);
    Ok(Lease {
        receipt: SqliteReceipt { seq: get(row, "seq")?, fence: get(row, "fence")? },
        attempt: get(row, "attempt")?,
        task: Task {
            id: TaskId::from_bytes(id(row, "task_id")?),
            event_id: EventId::from_bytes(id(row, "event_id")?),
            event: text("event")?.into(),
            name: text("name")?.into(),
            queue: text("queue")?.into(),
            priority: get(row, "priority")?,
            payload: Arc::from(get::<&str>(row, "payload")?),
            headers: headers(row)?,
            published_at: timestamp(row, "published_at")?,
            due_at: timestamp(row, "due_at")?,
        },
    })
}
