//! Writes tasks into a transaction that is proven to be open.
//!
//! Some errors of SQLite (a full disk, a failed read) roll the whole transaction back, and so may a
//! statement that the program sends. Whatever follows would commit alone, one statement at a time.
//! Therefore every transaction begins with a savepoint, and the tasks are written right behind its
//! release, in one round trip: if the transaction is gone, so is the savepoint, its release fails,
//! and no task is written.

use std::fmt::Write;

use events_core::Task;
use events_core::forwarding::Split;
use events_core::task::{Headers, Name};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Database, SqlSafeStr, Sqlite, SqliteConnection};
use sqlx_core::transaction::TransactionManager;

use super::debounce::merge;
use crate::database::{EventDatabase, check_depth, return_to_pool};
use crate::error::QueueError;
use crate::outbox::{NewRow, rows};

macro_rules! release {
    ($savepoint:literal) => {
        concat!("RELEASE ", $savepoint)
    };
    ($savepoint:literal, $then:expr) => {
        concat!("RELEASE ", $savepoint, "; ", $then)
    };
}

macro_rules! insert_one {
    () => {
        "INSERT INTO events_tasks (task_id, event_id, event, name, queue, priority, due_at,
            published_at, payload, headers)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
    };
}

macro_rules! insert_many {
    () => {
        "INSERT INTO events_tasks (task_id, event_id, event, name, queue, priority, due_at,
            published_at, payload, headers)
        SELECT unhex(value ->> 0), unhex(value ->> 1), value ->> 2, value ->> 3, value ->> 4,
            value ->> 5, value ->> 6, value ->> 7, value ->> 8, value ->> 9
        FROM json_each(?1) ORDER BY key"
    };
}

/// The statements that end a session, for none, one and many tasks, and for many of which some
/// wait until their key is quiet.
struct Seal {
    none: &'static str,
    one: &'static str,
    many: &'static str,
    debounced: &'static str,
}

const SESSION: Seal = Seal {
    none: release!("events_session"),
    one: release!("events_session", insert_one!()),
    many: release!("events_session", insert_many!()),
    debounced: release!("events_session", concat!(insert_many!(), "; ", merge!("?2"))),
};

const JOINED: Seal = Seal {
    none: release!("events_joined"),
    one: release!("events_joined", insert_one!()),
    many: release!("events_joined", insert_many!()),
    debounced: release!("events_joined", concat!(insert_many!(), "; ", merge!("?2"))),
};

impl EventDatabase for Sqlite {
    type Tables = ();
    type Place = ();

    fn give_back((): &mut (), connection: PoolConnection<Self>) {
        return_to_pool(connection);
    }

    /// With a savepoint that proves later that it is still the same transaction.
    async fn begin(connection: &mut SqliteConnection, (): &()) -> Result<(), sqlx::Error> {
        let begin = "BEGIN IMMEDIATE; SAVEPOINT events_session".into_sql_str();
        <Self as Database>::TransactionManager::begin(connection, Some(begin)).await
    }

    async fn commit(
        connection: &mut SqliteConnection,
        (): &(),
        tasks: &Split,
    ) -> Result<(), QueueError> {
        let failed = |step| move |error| Self::commit_error(step, error);
        seal(connection, &SESSION, tasks).await.map_err(failed("write the tasks of the commit"))?;
        // Exact: sealing was the last that the connection had to do.
        check_depth::<Self>(connection)?;
        <Self as Database>::TransactionManager::commit(connection).await.map_err(failed("commit"))
    }

    async fn seal_joined(
        connection: &mut SqliteConnection,
        (): &(),
        tasks: &Split,
    ) -> Result<(), sqlx::Error> {
        seal(connection, &JOINED, tasks).await
    }

    fn is_lost_transaction(error: &sqlx::Error) -> bool {
        error.as_database_error().is_some_and(|error| {
            let message = error.message();
            message.starts_with("no such savepoint: events_")
                || message.ends_with("no transaction is active")
        })
    }
}

async fn seal(
    connection: &mut SqliteConnection,
    seal: &Seal,
    tasks: &Split,
) -> Result<(), sqlx::Error> {
    let (sql, bound) = match tasks.local.as_slice() {
        [] => (seal.none, 0),
        tasks if tasks.iter().any(is_debounced) => (seal.debounced, 2),
        [_] => (seal.one, ONE),
        _ => (seal.many, 1),
    };
    let outbox = outbox_rows(tasks);
    let query = match outbox.len() {
        0 => sqlx::query(sql),
        // The statement for one row is kept; that for several depends on their number.
        count => sqlx::query(AssertSqlSafe(and_outbox(sql, bound, count))).persistent(count == 1),
    };
    let query = match tasks.local.as_slice() {
        [] => query,
        tasks if tasks.iter().any(is_debounced) => query
            .bind(json(tasks.iter().filter(|task| !is_debounced(task))))
            .bind(json(tasks.iter().filter(|task| is_debounced(task)))),
        [task] => bind_one(query, task),
        tasks => query.bind(json(tasks)),
    };
    outbox.into_iter().fold(query, bind_row).execute(connection).await?;
    Ok(())
}

fn is_debounced(task: &Task) -> bool {
    task.debounce.is_some()
}

/// The tasks of a commit that wait in an outbox to be sent.
fn outbox_rows(tasks: &Split) -> Vec<(&Name, NewRow)> {
    let rows = |(outbox, tasks)| rows(tasks).into_iter().map(move |row| (outbox, row));
    tasks.outbox.iter().map(|(outbox, tasks)| (outbox, &**tasks)).flat_map(rows).collect()
}

/// The statements of a seal, which have so many parameters, and that for so many rows of outboxes:
/// the rows travel in the same round trip.
fn and_outbox(sql: &str, bound: usize, rows: usize) -> String {
    let mut sql = format!(
        "{sql}; INSERT INTO events_outbox (outbox, tasks, published_at, body, bytes) VALUES "
    );
    for row in 0..rows {
        let first = bound + 4 * row + 1;
        let comma = if row == 0 { "" } else { ", " };
        let [tasks, published_at, body] = [first + 1, first + 2, first + 3];
        write!(sql, "{comma}(?{first}, ?{tasks}, ?{published_at}, ?{body}, octet_length(?{body}))")
            .expect("writing to a string cannot fail");
    }
    sql
}

type Sealing<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

fn bind_row<'q>(query: Sealing<'q>, (outbox, row): (&'q Name, NewRow)) -> Sealing<'q> {
    query.bind(&**outbox).bind(row.tasks).bind(row.published_at.as_micros()).bind(row.body)
}

/// How many parameters one task has.
const ONE: usize = 10;

fn bind_one<'q>(query: Sealing<'q>, task: &'q Task) -> Sealing<'q> {
    query
        .bind(task.id.to_bytes().to_vec())
        .bind(task.event_id.to_bytes().to_vec())
        .bind(&*task.event)
        .bind(&*task.name)
        .bind(&*task.queue)
        .bind(task.priority)
        .bind(task.due_at.as_micros())
        .bind(task.published_at.as_micros())
        .bind(&*task.payload)
        .bind(headers(&task.headers))
}

pub(super) fn headers(headers: &Headers) -> Option<String> {
    (!headers.is_empty()).then(|| headers.to_json())
}

/// All tasks as one parameter: the statement is the same for every number of them, and no limit
/// on parameters applies.
fn json<'t>(tasks: impl IntoIterator<Item = &'t Task>) -> String {
    let rows = tasks.into_iter().map(|task| {
        let debounced = task.debounce.as_ref();
        serde_json::json!([
            task.id.to_string(),
            task.event_id.to_string(),
            task.event,
            task.name,
            task.queue,
            task.priority,
            task.due_at.as_micros(),
            task.published_at.as_micros(),
            &*task.payload,
            headers(&task.headers),
            debounced.map(|debounced| &debounced.key),
            debounced.map(|debounced| debounced.not_after.as_micros()),
        ])
    });
    rows.collect::<serde_json::Value>().to_string()
}

/// Asks SQLite itself whether the connection is in a transaction, and opens the savepoint that the
/// flush releases.
///
/// A `BEGIN` that is refused would tell as well, but one that is not refused, and whose caller goes
/// away before it is undone, would leave a transaction open. Setting `synchronous` to what it is
/// already is refused in a transaction and changes nothing outside.
pub(super) async fn join(connection: &mut SqliteConnection) -> Result<(), QueueError> {
    const STEP: &str = "join the transaction";
    let failed = |error| QueueError::database(STEP, error);
    let level: i64 = sqlx::query_scalar("PRAGMA synchronous")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    let set = AssertSqlSafe(format!("PRAGMA synchronous = {level}"));
    match sqlx::raw_sql(set).execute(&mut *connection).await {
        Ok(_) => return Err(QueueError::NotInTransaction),
        Err(sqlx::Error::Database(error)) if error.message().contains("inside a transaction") => {}
        Err(error) => return Err(failed(error)),
    }
    sqlx::query("SAVEPOINT events_joined").execute(connection).await.map_err(failed)?;
    Ok(())
}
