//! Rows read back.

use std::array::TryFromSliceError;

use events_core::broker::{AttemptError, Lease};
use events_core::event::InvalidIdentifier;
use events_core::task::Headers;
use events_core::{BoxError, Task, Timestamp};
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

/// The attempts of a task that went wrong, as an array to append to whatever the column holds: a
/// row that was written by hand must not keep its batch from being recorded.
macro_rules! errors_so_far {
    () => {
        "iif(json_valid(errors), iif(json_type(errors) = 'array', errors, '[]'), '[]')"
    };
}
pub(super) use errors_so_far;

/// What [`lease`] reads: a task's seq, and the task as one JSON array. This is read most of all,
/// and sqlx copies every column of every row by itself.
macro_rules! lease_columns {
    () => {
        "seq, json_array(fence, attempt, hex(task_id), hex(event_id), event, name, queue, priority,
            due_at, published_at, payload, headers) AS task"
    };
}
pub(super) use lease_columns;

/// The array of [`lease_columns`].
type Packed =
    (i64, u32, String, String, String, String, String, i16, i64, i64, String, Option<String>);

/// A claimed task, from [`lease_columns`].
pub(super) fn lease(row: &SqliteRow) -> Result<Lease<SqliteReceipt>, QueueError> {
    let read = |error: BoxError| unreadable("task")(error);
    let seq = row.try_get(0).map_err(|error| read(error.into()))?;
    let packed: &str = row.try_get(1).map_err(|error| read(error.into()))?;
    let packed: Packed = serde_json::from_str(packed).map_err(|error| read(error.into()))?;
    let (fence, attempt, task_id, event_id, event, name, queue, priority, ..) = packed;
    let (.., due_at, published_at, payload, headers) = packed;
    Ok(Lease {
        receipt: SqliteReceipt { seq, fence },
        attempt,
        task: Task {
            id: task_id.parse().map_err(|error: InvalidIdentifier| read(error.into()))?,
            event_id: event_id.parse().map_err(|error: InvalidIdentifier| read(error.into()))?,
            event: event.into(),
            name: name.into(),
            queue: queue.into(),
            priority,
            due_at: Timestamp::from_micros(due_at),
            published_at: Timestamp::from_micros(published_at),
            debounce: None,
            payload: payload.into(),
            headers: match headers {
                None => Headers::new(),
                Some(json) => Headers::from_json(&json).map_err(|error| read(error.into()))?,
            },
        },
    })
}
