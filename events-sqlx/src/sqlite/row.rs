//! Rows read back.

use std::array::TryFromSliceError;
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
    bytes.try_into().map_err(|error: TryFromSliceError| unreadable(column)(error.into()))
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

/// The columns that [`lease`] reads, by position: this is read most of all.
macro_rules! lease_columns {
    () => {
        "seq, fence, attempt, task_id, event_id, event, name, queue, priority, due_at,
            published_at, payload, headers"
    };
}
pub(super) use lease_columns;

fn invalid(error: TryFromSliceError) -> BoxError {
    error.into()
}

/// A claimed task, from [`lease_columns`].
pub(super) fn lease(row: &SqliteRow) -> Result<Lease<SqliteReceipt>, sqlx::Error> {
    let id = |index| {
        let bytes: &[u8] = row.try_get(index)?;
        bytes.try_into().map_err(|error| sqlx::Error::Decode(invalid(error)))
    };
    let text = |index| row.try_get::<String, usize>(index);
    let headers: Option<&str> = row.try_get(12)?;
    Ok(Lease {
        receipt: SqliteReceipt { seq: row.try_get(0)?, fence: row.try_get(1)? },
        attempt: row.try_get(2)?,
        task: Task {
            id: TaskId::from_bytes(id(3)?),
            event_id: EventId::from_bytes(id(4)?),
            event: text(5)?.into(),
            name: text(6)?.into(),
            queue: text(7)?.into(),
            priority: row.try_get(8)?,
            due_at: Timestamp::from_micros(row.try_get(9)?),
            published_at: Timestamp::from_micros(row.try_get(10)?),
            payload: Arc::from(row.try_get::<&str, _>(11)?),
            headers: match headers {
                None => Headers::new(),
                Some(json) => {
                    Headers::from_json(json).map_err(|error| sqlx::Error::Decode(error.into()))?
                }
            },
        },
    })
}
