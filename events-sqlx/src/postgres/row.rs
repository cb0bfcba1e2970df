//! Rows read back.

use events_core::broker::Lease;
use events_core::task::{Headers, Name};
use events_core::{BoxError, EventId, Registry, Task, TaskId, Timestamp, WorkerId};
use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::types::Uuid;

use crate::error::QueueError;

/// Names one claim of one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PostgresReceipt {
    pub(super) seq: i64,
    pub(super) fence: i64,
}

/// Reads a column, naming it when it cannot be read.
pub(super) fn get<'r, T>(row: &'r PgRow, column: &'static str) -> Result<T, QueueError>
where
    T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    row.try_get(column).map_err(|error| unreadable(column)(error.into()))
}

pub(super) fn unreadable(column: &'static str) -> impl Fn(BoxError) -> QueueError {
    move |source| QueueError::Row { column, source }
}

pub(super) fn id(row: &PgRow, column: &'static str) -> Result<[u8; 16], QueueError> {
    get::<Uuid>(row, column).map(Uuid::into_bytes)
}

pub(super) fn worker(row: &PgRow, column: &'static str) -> Result<WorkerId, QueueError> {
    id(row, column).map(WorkerId::from_bytes)
}

pub(super) fn uuid(worker: WorkerId) -> Uuid {
    Uuid::from_bytes(worker.to_bytes())
}

pub(super) fn timestamp(row: &PgRow, column: &'static str) -> Result<Timestamp, QueueError> {
    get(row, column).map(Timestamp::from_micros)
}

/// A number that is never negative, as the column's type cannot say.
pub(super) fn number<T: TryFrom<i64>>(row: &PgRow, column: &'static str) -> Result<T, QueueError> {
    let found: i64 = get(row, column)?;
    T::try_from(found).map_err(|_| unreadable(column)(format!("{found} is out of range").into()))
}

pub(super) fn headers(row: &PgRow) -> Result<Headers, QueueError> {
    match get::<Option<&str>>(row, "headers")? {
        None => Ok(Headers::new()),
        Some(json) => Headers::from_json(json).map_err(|error| unreadable("headers")(error.into())),
    }
}

/// The attempts that went wrong, with one more: `$error` is its JSON. Whatever else the column
/// holds, written by hand, must not keep a batch from being recorded.
macro_rules! errors_and {
    ($error:literal) => {
        concat!(
            "CASE WHEN errors LIKE '[{%}]' THEN left(errors, -1) || ',' ELSE '[' END || ",
            $error,
            " || ']'"
        )
    };
}
pub(super) use errors_and;

/// What [`lease`] reads, in this order.
macro_rules! lease_columns {
    () => {
        "task.seq, task.fence, task.attempt, task.task_id, task.event_id, task.event, task.name,
            task.queue, task.priority, task.due_at, task.published_at, task.payload, task.headers"
    };
}
pub(super) use lease_columns;

/// A claimed task, from [`lease_columns`].
pub(super) fn lease(row: &PgRow, known: &Registry) -> Result<Lease<PostgresReceipt>, QueueError> {
    decode(row, known).map_err(|error| unreadable("task")(error))
}

fn decode(row: &PgRow, known: &Registry) -> Result<Lease<PostgresReceipt>, BoxError> {
    let (event, name) = names(row.try_get(5)?, row.try_get(6)?, known);
    let identifier = |index: usize| row.try_get::<Uuid, _>(index).map(Uuid::into_bytes);
    let timestamp = |index: usize| row.try_get(index).map(Timestamp::from_micros);
    Ok(Lease {
        receipt: PostgresReceipt { seq: row.try_get(0)?, fence: row.try_get(1)? },
        attempt: row.try_get::<i32, _>(2)?.try_into()?,
        task: Task {
            id: TaskId::from_bytes(identifier(3)?),
            event_id: EventId::from_bytes(identifier(4)?),
            event,
            name,
            queue: row.try_get::<String, _>(7)?.into(),
            priority: row.try_get(8)?,
            due_at: timestamp(9)?,
            published_at: timestamp(10)?,
            debounce: None,
            payload: row.try_get::<&str, _>(11)?.into(),
            headers: match row.try_get::<Option<&str>, _>(12)? {
                None => Headers::new(),
                Some(json) => Headers::from_json(json)?,
            },
        },
    })
}

/// The event's name and the task's: of a task that this program knows, its own, without a copy.
fn names(event: &str, name: &str, known: &Registry) -> (Name, Name) {
    let subscriber = known.subscriber(name);
    match subscriber.filter(|found| found.task == name && found.event.name == event) {
        Some(found) => (found.event.name.into(), found.task.into()),
        None => (event.to_owned().into(), name.to_owned().into()),
    }
}
