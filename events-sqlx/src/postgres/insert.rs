//! Writes tasks into a transaction that is proven to be open.
//!
//! The rows and the commit travel in one message: publishing adds no round trip. `COMMIT AND
//! CHAIN`, unlike `COMMIT`, is refused outside a transaction block, and then the rows, which came
//! in the same message, are undone with it. And in a transaction that an error has aborted, already
//! the statement before it is refused, whereas a plain `COMMIT` there rolls back and reports
//! success. What the chaining opens, the rollback behind it closes.

use std::collections::HashMap;
use std::fmt::Write;

use events_core::Task;
use events_core::forwarding::Split;
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Database, Executor, PgConnection, Postgres};
use sqlx_core::transaction::TransactionManager;

use super::debounce::MERGE;
use super::literal::{SEPARATOR, push_array, push_split, push_text};
use super::tables::Tables;
use crate::database::{EventDatabase, check_depth, roll_back_and_return};
use crate::error::QueueError;
use crate::outbox::rows;
use crate::standby::Place;

macro_rules! insert {
    ($rows:literal) => {
        concat!(
            "INSERT INTO {schema}.tasks (task_id, event_id, event, name, queue, priority, due_at,
                published_at, payload, headers) ",
            $rows
        )
    };
}

pub(super) const INSERT: &str = insert!("");

/// A commit with one task is the usual one. To analyse and to plan its statement is a third of what
/// it costs the server, so that is done once for each connection. Somebody who holds the table, to
/// rewrite it, say, must not keep connections from opening: the client would give up, and the server
/// wait on.
pub(super) const PREPARE: &str = concat!(
    "SET LOCAL lock_timeout = '1s'; PREPARE {schema}_insert (uuid, uuid, text, text, text, int2, int8, int8, text, text) AS ",
    insert!("VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)")
);

/// The values follow.
pub(super) const EXECUTE: &str = "EXECUTE {schema}_insert (";

/// Refused in a transaction that an error has aborted, and nothing otherwise.
const CHECK: &str = "SELECT 1";

const COMMIT: &str = "; COMMIT AND CHAIN";

/// Up to so many tasks are written as rows; of more, each column is one array.
const ROWS: usize = 4;

impl EventDatabase for Postgres {
    type Tables = Tables;
    /// None for a pool that the application has made.
    type Place = Option<Place<Self>>;

    fn give_back(place: &mut Self::Place, connection: PoolConnection<Self>) {
        match place.take() {
            Some(place) => place.put(connection),
            None => roll_back_and_return(connection),
        }
    }

    async fn begin(connection: &mut PgConnection, place: &Self::Place) -> Result<(), sqlx::Error> {
        match place {
            // sqlx counts the transaction already. One message, and one answer to wait for.
            Some(place) if place.is_in_transaction() => {
                connection.execute(sqlx::raw_sql("ROLLBACK; BEGIN")).await.map(drop)
            }
            _ => <Self as Database>::TransactionManager::begin(connection, None).await,
        }
    }

    async fn commit(
        connection: &mut PgConnection,
        tables: &Tables,
        tasks: &Split,
    ) -> Result<(), QueueError> {
        check_depth::<Self>(connection)?;
        let mut sql = write(tables, tasks).unwrap_or_else(|| CHECK.to_owned());
        sql.push_str(COMMIT);
        let step = if tasks.writes_nothing() { "commit" } else { "write the tasks and commit" };
        let sent = connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await;
        sent.map(drop).map_err(|error| Self::commit_error(step, error))
    }

    async fn seal_joined(
        connection: &mut PgConnection,
        tables: &Tables,
        tasks: &Split,
    ) -> Result<(), sqlx::Error> {
        let Some(insert) = write(tables, tasks) else { return Ok(()) };
        // Outside a transaction block the savepoint is refused, and the rows with it.
        let sql = format!("{OPEN_SAVEPOINT}; {insert}; {CLOSE_SAVEPOINT}");
        connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.map(drop)
    }

    fn is_lost_transaction(error: &sqlx::Error) -> bool {
        is_outside_transaction(error) || has_code(error, "25P02")
    }
}

const OPEN_SAVEPOINT: &str = "SAVEPOINT events_joined";
const CLOSE_SAVEPOINT: &str = "RELEASE SAVEPOINT events_joined";

fn has_code(error: &sqlx::Error, wanted: &str) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref() == Some(wanted)
}

fn is_outside_transaction(error: &sqlx::Error) -> bool {
    has_code(error, "25P01")
}

/// Asks PostgreSQL itself whether the connection is in a transaction.
pub(super) async fn check_joined(connection: &mut PgConnection) -> Result<(), QueueError> {
    let sql = AssertSqlSafe(format!("{OPEN_SAVEPOINT}; {CLOSE_SAVEPOINT}"));
    match connection.execute(sqlx::raw_sql(sql)).await {
        Ok(_) => Ok(()),
        Err(error) if is_outside_transaction(&error) => Err(QueueError::NotInTransaction),
        Err(error) if Postgres::is_lost_transaction(&error) => Err(QueueError::TransactionLost),
        Err(error) => Err(QueueError::database("join the transaction", error)),
    }
}

/// The statements that write the tasks of a commit, of the queue and of the outboxes.
fn write(tables: &Tables, tasks: &Split) -> Option<String> {
    let mut sql = insert(tables, &tasks.local);
    for (outbox, tasks) in &tasks.outbox {
        let mut text = sql.map_or_else(String::new, |sql| sql + "; ");
        text.push_str(tables.statements().insert_outbox.as_str());
        for (index, row) in rows(tasks).iter().enumerate() {
            text.push_str(if index == 0 { "(" } else { ", (" });
            push_text(&mut text, outbox);
            write!(text, ",{},{},", row.tasks, row.published_at.as_micros()).expect(STRING);
            push_text(&mut text, &row.body);
            text.push(')');
        }
        sql = Some(text);
    }
    sql
}

/// One statement for all tasks, and one for those that wait until their key is quiet.
fn insert(tables: &Tables, tasks: &[Task]) -> Option<String> {
    if tasks.iter().all(|task| task.debounce.is_none()) {
        return insert_due(tables, tasks);
    }
    let (mut debounced, due): (Vec<_>, Vec<_>) =
        tasks.iter().cloned().partition(|task| task.debounce.is_some());
    debounced.sort_by_cached_key(|task| {
        (task.name.clone(), task.debounce.as_ref().map(|debounced| debounced.key.clone()))
    });
    let mut sql = insert_due(tables, &due).map_or_else(String::new, |sql| sql + "; ");
    sql.push_str(tables.statements().insert_debounced.as_str());
    push_rows(&mut sql, &debounced);
    sql.push_str(MERGE);
    Some(sql)
}

fn insert_due(tables: &Tables, tasks: &[Task]) -> Option<String> {
    if tasks.is_empty() {
        return None;
    }
    let mut sql = String::with_capacity(256 + tasks.len() * 256);
    if let ([task], true) = (tasks, tables.are_prepared()) {
        sql.push_str(tables.statements().execute_insert.as_str());
        push_row(&mut sql, task);
        sql.push(')');
        return Some(sql);
    }
    sql.push_str(tables.statements().insert.as_str());
    if tasks.len() <= ROWS {
        push_rows(&mut sql, tasks);
    } else {
        push_columns(&mut sql, tasks);
    }
    Some(sql)
}

fn push_rows(sql: &mut String, tasks: &[Task]) {
    for (index, task) in tasks.iter().enumerate() {
        sql.push_str(if index == 0 { "VALUES (" } else { "), (" });
        push_row(sql, task);
        if let Some(debounced) = &task.debounce {
            sql.push(',');
            push_text(sql, &debounced.key);
            write!(sql, ",{}", debounced.not_after.as_micros()).expect(STRING);
        }
    }
    sql.push(')');
}

fn push_row(sql: &mut String, task: &Task) {
    write!(sql, "'{}','{}',", task.id, task.event_id).expect(STRING);
    for name in [&task.event, &task.name, &task.queue] {
        push_text(sql, name);
        sql.push(',');
    }
    let (due_at, published_at) = (task.due_at.as_micros(), task.published_at.as_micros());
    write!(sql, "{},{due_at},{published_at},", task.priority).expect(STRING);
    push_text(sql, &task.payload);
    sql.push(',');
    match headers_of(task) {
        Some(headers) => push_text(sql, &headers),
        None => sql.push_str("NULL"),
    }
}

const STRING: &str = "writing to a string cannot fail";

/// What all tasks have in common, and mostly that is a lot, is written once; the rest as an array
/// for each column.
fn push_columns(sql: &mut String, tasks: &[Task]) {
    let (kinds, kind_of) = kinds(tasks);
    let due_at = tasks[0].due_at;
    let due_at = tasks.iter().all(|task| task.due_at == due_at).then_some(due_at);
    let with_headers = tasks.iter().any(|task| !task.headers.is_empty());
    sql.push_str("SELECT task_id, event_id, ");
    push_of_kind(sql, &kinds, |sql, kind| push_text(sql, &kind.event));
    push_of_kind(sql, &kinds, |sql, kind| push_text(sql, &kind.name));
    push_of_kind(sql, &kinds, |sql, kind| push_text(sql, &kind.queue));
    push_of_kind(sql, &kinds, |sql, kind| {
        write!(sql, "'{}'::int2", kind.priority).expect(STRING);
    });
    match due_at {
        Some(due_at) => write!(sql, "{}, ", due_at.as_micros()).expect(STRING),
        None => sql.push_str("due_at, "),
    }
    // An empty text for NULL, which a server may be set to read as a text of four letters.
    let headers = if with_headers { "nullif(headers, '')" } else { "NULL" };
    write!(sql, "published_at, payload, {headers} FROM unnest(").expect(STRING);
    let mut columns = String::from("task_id, event_id, published_at, payload");
    push_values(sql, "uuid", tasks, |task, sql| write!(sql, "{}", task.id));
    push_values(sql, "uuid", tasks, |task, sql| write!(sql, "{}", task.event_id));
    push_values(sql, "int8", tasks, |task, sql| write!(sql, "{}", task.published_at.as_micros()));
    push_payloads(sql, tasks);
    if due_at.is_none() {
        columns.push_str(", due_at");
        push_values(sql, "int8", tasks, |task, sql| write!(sql, "{}", task.due_at.as_micros()));
    }
    if kinds.len() > 1 {
        columns.push_str(", kind");
        let mut kind_of = kind_of.iter();
        push_values(sql, "int4", tasks, |_, sql| {
            write!(sql, "{}", kind_of.next().expect("one for each task"))
        });
    }
    if with_headers {
        columns.push_str(", headers");
        let headers: Vec<_> = tasks.iter().map(headers_of).collect();
        push_array(sql, headers.iter().map(|headers| headers.as_deref().unwrap_or_default()));
        sql.push_str("::text[],");
    }
    sql.pop(); // the last comma
    write!(sql, ") AS task ({columns})").expect(STRING);
}

/// The tasks that differ in event, name, queue or priority, one of each, and which each task is,
/// counted from one.
fn kinds(tasks: &[Task]) -> (Vec<&Task>, Vec<usize>) {
    let mut kinds: Vec<&Task> = Vec::new();
    let mut known = HashMap::new();
    let kind_of = tasks.iter().map(|task| {
        *known.entry((&task.name, &task.event, &task.queue, task.priority)).or_insert_with(|| {
            kinds.push(task);
            kinds.len()
        })
    });
    let kind_of = kind_of.collect();
    (kinds, kind_of)
}

/// What depends on the kind: itself if there is one, or the place of `kind` in an array.
fn push_of_kind(sql: &mut String, kinds: &[&Task], push: impl Fn(&mut String, &Task)) {
    if let [kind] = kinds {
        push(sql, kind);
    } else {
        for (index, kind) in kinds.iter().enumerate() {
            sql.push_str(if index == 0 { "(ARRAY[" } else { "," });
            push(sql, kind);
        }
        sql.push_str("])[kind]");
    }
    sql.push_str(", ");
}

fn push_payloads(sql: &mut String, tasks: &[Task]) {
    let payloads = || tasks.iter().map(|task| &*task.payload);
    if payloads().any(|payload| payload.contains(SEPARATOR)) {
        push_array(sql, payloads());
        sql.push_str("::text[],");
    } else {
        push_split(sql, payloads());
        sql.push(',');
    }
}

/// A column of values that need no escapes.
fn push_values(
    sql: &mut String,
    of: &str,
    tasks: &[Task],
    mut push: impl FnMut(&Task, &mut String) -> std::fmt::Result,
) {
    for (index, task) in tasks.iter().enumerate() {
        sql.push_str(if index == 0 { "'{" } else { "," });
        push(task, sql).expect(STRING);
    }
    write!(sql, "}}'::{of}[],").expect(STRING);
}

fn headers_of(task: &Task) -> Option<String> {
    (!task.headers.is_empty()).then(|| task.headers.to_json())
}
