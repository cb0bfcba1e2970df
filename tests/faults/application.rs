//! The application that the faults hit: orders that are placed, booked, shipped, told.
//!
//! | event         | subscriber | its effect                                      | promised      |
//! |---------------|------------|-------------------------------------------------|---------------|
//! | `OrderPlaced` | `book`     | in the task's transaction; publishes the next   | exactly once  |
//! | `OrderPlaced` | `notify`   | through the pool                                | at least once |
//! | `OrderBooked` | `ship`     | in the task's transaction                       | exactly once  |
//! | `OrderBooked` | `confirm`  | through the pool                                | at least once |
//! | `PoisonPlaced`| `swallow`  | aborts its process                              | a dead letter |

use std::time::Duration;

use events_core::prelude::*;
use events_sqlx::{EventTransaction, PgPool, Postgres};
use sqlx::PgConnection;

use crate::points::{around, point};

/// Short, so that many of them pass in a run.
pub const LEASE: Duration = Duration::from_secs(2);

/// The subscribers with exactly one effect for each order.
pub const ONCE: [&str; 2] = ["book", "ship"];

/// The subscribers with at least one.
pub const AT_LEAST_ONCE: [&str; 2] = ["notify", "confirm"];

/// Effects have no unique constraint: duplicates are to be found, not prevented.
pub const TABLES: &str = "
    CREATE TABLE orders (publisher bigint, number bigint, PRIMARY KEY (publisher, number));
    CREATE TABLE effects_once (
        subscriber text, publisher bigint, number bigint, attempt int, process int
    );
    CREATE TABLE effects_at_least (
        subscriber text, publisher bigint, number bigint, attempt int, process int
    );";

/// How long what surrounds a commit or a settlement takes, about.
const AROUND: Duration = Duration::from_millis(4);

/// An order was placed.
#[derive(Event)]
pub struct OrderPlaced {
    publisher: i64,
    number: i64,
}

/// An order was booked.
#[derive(Event)]
pub struct OrderBooked {
    publisher: i64,
    number: i64,
}

/// What kills whoever handles it was placed.
#[derive(Event)]
pub struct PoisonPlaced {
    publisher: i64,
}

/// The order of each publisher that comes with poison.
pub const POISONED: i64 = 100;

/// The settings of every process of a run.
pub fn settings() -> EventSettings {
    EventSettings {
        lease: LEASE,
        retry_backoff: Duration::from_millis(100),
        max_retry_backoff: Duration::from_secs(2),
        ..EventSettings::default()
    }
}

/// Writes an order and its event into the transaction.
#[publishes(OrderPlaced, PoisonPlaced)]
pub async fn place(
    tx: &mut EventTransaction<Postgres>,
    publisher: i64,
    number: i64,
) -> Result<(), crate::Error> {
    sqlx::query("INSERT INTO orders (publisher, number) VALUES ($1, $2)")
        .bind(publisher)
        .bind(number)
        .execute(tx.connection())
        .await?;
    publish_after_commit(tx, OrderPlaced { publisher, number })?;
    if number == POISONED {
        publish_after_commit(tx, PoisonPlaced { publisher })?;
    }
    Ok(())
}

#[publishes(OrderBooked)]
fn announce(
    tx: &mut EventTransaction<Postgres>,
    publisher: i64,
    number: i64,
) -> Result<EventId, PublishError> {
    publish_after_commit(tx, OrderBooked { publisher, number })
}

#[subscribes_to(OrderPlaced, freshness_only)]
async fn book(
    event: OrderPlaced,
    context: TaskContext,
    tx: &mut EventTransaction<Postgres>,
) -> Result<(), Failure> {
    let OrderPlaced { publisher, number } = event;
    transactional_effect(tx, "book", publisher, number, &context).await?;
    announce(tx, publisher, number)?;
    Ok(())
}

#[subscribes_to(OrderPlaced, freshness_only)]
async fn notify(
    event: OrderPlaced,
    context: TaskContext,
    pool: State<PgPool>,
) -> Result<(), Failure> {
    plain_effect(&pool, "notify", event.publisher, event.number, &context).await
}

#[subscribes_to(OrderBooked, freshness_only)]
async fn ship(
    event: OrderBooked,
    context: TaskContext,
    tx: &mut EventTransaction<Postgres>,
) -> Result<(), Failure> {
    transactional_effect(tx, "ship", event.publisher, event.number, &context).await
}

#[subscribes_to(OrderBooked, freshness_only)]
async fn confirm(
    event: OrderBooked,
    context: TaskContext,
    pool: State<PgPool>,
) -> Result<(), Failure> {
    plain_effect(&pool, "confirm", event.publisher, event.number, &context).await
}

#[subscribes_to(PoisonPlaced, freshness_only, max_retries = 2)]
fn swallow(_: PoisonPlaced) {
    std::process::abort();
}

async fn transactional_effect(
    tx: &mut EventTransaction<Postgres>,
    subscriber: &str,
    publisher: i64,
    number: i64,
    context: &TaskContext,
) -> Result<(), Failure> {
    const EFFECT: &str = "INSERT INTO effects_once VALUES ($1, $2, $3, $4, $5)";
    point("transactional: before the effect");
    effect(tx.connection(), EFFECT, subscriber, publisher, number, context).await?;
    point("transactional: after the effect");
    fail_sometimes(number, context)?;
    around("transactional: around the commit", AROUND);
    Ok(())
}

async fn plain_effect(
    pool: &PgPool,
    subscriber: &str,
    publisher: i64,
    number: i64,
    context: &TaskContext,
) -> Result<(), Failure> {
    const EFFECT: &str = "INSERT INTO effects_at_least VALUES ($1, $2, $3, $4, $5)";
    point("plain: before the effect");
    let mut connection = pool.acquire().await?;
    effect(&mut connection, EFFECT, subscriber, publisher, number, context).await?;
    point("plain: between effect and settle");
    around("plain: around the settle", AROUND);
    Ok(())
}

async fn effect(
    connection: &mut PgConnection,
    sql: &'static str,
    subscriber: &str,
    publisher: i64,
    number: i64,
    context: &TaskContext,
) -> Result<(), sqlx::Error> {
    sqlx::query(sql)
        .bind(subscriber)
        .bind(publisher)
        .bind(number)
        .bind(i32::try_from(context.attempt()).unwrap_or(i32::MAX))
        .bind(i32::try_from(std::process::id()).unwrap_or(i32::MAX))
        .execute(connection)
        .await?;
    Ok(())
}

/// Some handlers fail after their effect, the first time: it must be taken back.
fn fail_sometimes(number: i64, context: &TaskContext) -> Result<(), Failure> {
    match context.attempt() == 1 && number % 97 == 0 {
        true => Err(Failure::retry("the first attempt at every 97th fails")),
        false => Ok(()),
    }
}
