//! What the crash tests start, kill and stop: a program on SQLite that publishes, or works.
//!
//! `crash-program publish DATABASE UNTIL` places orders, one per transaction, up to a number.
//! `crash-program work DATABASE` handles them until its standard input closes, `crash-program serve DATABASE`
//! until a signal asks it to end.
#![allow(clippy::print_stdout, reason = "its parent waits for the line `ready`")]

use std::time::Duration;

use events_core::prelude::*;
use events_runtime::{Worker, WorkerError, shutdown_signal};
use events_sqlx::{EventTransaction, Sqlite, SqliteQueue};
use sqlx::SqlitePool;
use tokio::io::AsyncReadExt;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// An order was placed.
#[derive(Event)]
struct OrderPlaced {
    number: i64,
}

/// An order was booked.
#[derive(Event)]
struct OrderBooked {
    number: i64,
}

/// Something was placed that kills whoever handles it.
#[derive(Event)]
struct PoisonPlaced {}

/// Something was placed that takes a while.
#[derive(Event)]
struct SlowPlaced {}

/// Aborts at the point named by the environment, at the first attempt only.
fn crash_point(point: &str, context: &TaskContext) {
    if context.attempt() == 1 && std::env::var("CRASH_AT").is_ok_and(|wanted| wanted == point) {
        std::process::abort();
    }
}

#[subscribes_to(OrderPlaced, freshness_only)]
async fn book(
    event: OrderPlaced,
    context: TaskContext,
    tx: &mut EventTransaction<Sqlite>,
) -> Result<(), Failure> {
    crash_point("transaction, before the effect", &context);
    effect(tx.connection(), "booked", event.number).await?;
    announce(tx, event.number)?;
    crash_point("transaction, after the effect", &context);
    Ok(())
}

#[publishes(OrderBooked)]
fn announce(tx: &mut EventTransaction<Sqlite>, number: i64) -> Result<EventId, PublishError> {
    publish_after_commit(tx, OrderBooked { number })
}

#[subscribes_to(OrderBooked, freshness_only)]
async fn confirm(
    event: OrderBooked,
    context: TaskContext,
    pool: State<SqlitePool>,
) -> Result<(), Failure> {
    crash_point("plain, before the effect", &context);
    effect(&mut *pool.acquire().await?, "confirmed", event.number).await?;
    crash_point("plain, after the effect", &context);
    Ok(())
}

#[subscribes_to(PoisonPlaced, freshness_only, max_retries = 2, retry_backoff = "10ms..20ms")]
fn swallow(_: PoisonPlaced) {
    std::process::abort();
}

#[subscribes_to(SlowPlaced, freshness_only)]
async fn take_a_while(_: SlowPlaced, pool: State<SqlitePool>) -> Result<(), Failure> {
    let pid = i64::from(std::process::id());
    effect(&mut *pool.acquire().await?, "slow began", pid).await?;
    tokio::time::sleep(Duration::from_millis(700)).await;
    effect(&mut *pool.acquire().await?, "slow ended", pid).await?;
    Ok(())
}

async fn effect(
    connection: &mut sqlx::SqliteConnection,
    kind: &str,
    number: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO effects (kind, number) VALUES (?, ?)")
        .bind(kind)
        .bind(number)
        .execute(connection)
        .await?;
    Ok(())
}

struct Orders;

impl Orders {
    #[publishes(OrderPlaced)]
    async fn place_next(tx: &mut EventTransaction<Sqlite>, until: i64) -> Result<bool, Error> {
        let number: i64 = sqlx::query_scalar("SELECT coalesce(max(number), 0) + 1 FROM orders")
            .fetch_one(tx.connection())
            .await?;
        if number > until {
            return Ok(false);
        }
        sqlx::query("INSERT INTO orders (number) VALUES (?)")
            .bind(number)
            .execute(tx.connection())
            .await?;
        publish_after_commit(tx, OrderPlaced { number })?;
        Ok(true)
    }

    #[publishes(PoisonPlaced)]
    fn place_poison(tx: &mut EventTransaction<Sqlite>) -> Result<EventId, PublishError> {
        publish_after_commit(tx, PoisonPlaced {})
    }

    #[publishes(SlowPlaced)]
    fn place_slow(tx: &mut EventTransaction<Sqlite>) -> Result<EventId, PublishError> {
        publish_after_commit(tx, SlowPlaced {})
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let settings = EventSettings { lease: Duration::from_millis(600), ..EventSettings::default() };
    let events = Events::builder().settings(settings).build()?;
    let [role, database, rest @ ..] = arguments.as_slice() else {
        return Err("usage: crash-program ROLE DATABASE …".into());
    };
    let queue = SqliteQueue::open(database, &events).await?;
    for table in ["orders (number INTEGER)", "effects (kind TEXT, number INTEGER)"] {
        let create = format!("CREATE TABLE IF NOT EXISTS {table}");
        sqlx::query(sqlx::AssertSqlSafe(create)).execute(queue.pool()).await?;
    }
    println!("ready");
    match (*role, rest) {
        ("publish", [until]) => publish(&queue, until.parse()?).await,
        ("poison", []) => {
            let mut tx = queue.begin().await?;
            Orders::place_poison(&mut tx)?;
            Ok(tx.commit().await?)
        }
        ("slow", []) => {
            let mut tx = queue.begin().await?;
            Orders::place_slow(&mut tx)?;
            Ok(tx.commit().await?)
        }
        ("work", []) => {
            let closed = async {
                tokio::io::stdin().read_to_end(&mut Vec::new()).await.ok();
            };
            Ok(worker(&events, &queue)?.run_until(closed).await?)
        }
        ("serve", []) => Ok(worker(&events, &queue)?.run_until(shutdown_signal()).await?),
        _ => Err("usage: crash-program publish|poison|slow|work|serve DATABASE [UNTIL]".into()),
    }
}

fn worker(events: &Events, queue: &SqliteQueue) -> Result<Worker<SqliteQueue>, WorkerError> {
    Worker::builder(events, queue.clone()).state(queue.pool().clone()).concurrency(4).build()
}

async fn publish(queue: &SqliteQueue, until: i64) -> Result<(), Error> {
    loop {
        let mut tx = queue.begin().await?;
        if !Orders::place_next(&mut tx, until).await? {
            return Ok(());
        }
        tx.commit().await?;
    }
}
