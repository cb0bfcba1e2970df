//! A process that places orders, and goes on where the one before it died.

use std::time::{Duration, Instant};

use events_core::prelude::*;
use events_sqlx::{PgPool, PostgresQueue, PostgresQueueOptions};
use tokio::io::AsyncReadExt;
use tokio::time::sleep;

use crate::arguments::Publish;
use crate::points::{around, point};
use crate::random::Random;
use crate::{Error, application};

/// While more tasks than this are there, publishers wait: a run is to be about both.
const ENOUGH_TASKS: i64 = 5_000;

/// Before the next try when the database could not be asked.
const AWAY: Duration = Duration::from_millis(50);

pub async fn publish(arguments: Publish) -> Result<(), Error> {
    let mut input = Vec::new();
    let mut input_closed = tokio::io::stdin();
    tokio::select! {
        done = place_orders(arguments) => done,
        _ = input_closed.read_to_end(&mut input) => Err("the run has ended".into()),
    }
}

async fn place_orders(arguments: Publish) -> Result<(), Error> {
    let events = Events::builder().settings(application::settings()).build()?;
    let queue =
        PostgresQueueOptions::new().max_connections(2).connect(&arguments.url, &events).await?;
    let mut publisher = Publisher {
        queue,
        number: arguments.publisher,
        orders: arguments.orders,
        random: Random::new(u64::from(std::process::id())),
    };
    let (started, mut placed) = (Instant::now(), 0);
    let mut next = publisher.next().await;
    while next <= publisher.orders {
        let due = Duration::from_secs_f64(f64::from(placed) / f64::from(arguments.rate));
        sleep(due.saturating_sub(started.elapsed())).await;
        // Whatever a commit answers, what counts is what is there.
        match publisher.transaction(next).await {
            Ok(orders) => {
                next += i64::from(orders);
                placed += orders;
            }
            Err(error) => {
                eprintln!("orders from {next} on: {error}: {:?}", error.source());
                next = publisher.next().await;
            }
        }
    }
    Ok(())
}

struct Publisher {
    queue: PostgresQueue,
    number: i64,
    orders: i64,
    random: Random,
}

impl Publisher {
    /// The number of the next order: looks until the database answers, and there is not too much
    /// left to do.
    async fn next(&self) -> i64 {
        loop {
            match self.ask().await {
                Ok((next, tasks)) if tasks < ENOUGH_TASKS => return next,
                Ok(_) => {}
                Err(error) => eprintln!("the next order: {error}"),
            }
            sleep(AWAY).await;
        }
    }

    async fn ask(&self) -> Result<(i64, i64), sqlx::Error> {
        const NEXT: &str = "SELECT
            (SELECT coalesce(max(number), 0) + 1 FROM orders WHERE publisher = $1),
            (SELECT count(*) FROM (SELECT FROM events.tasks LIMIT $2) AS first)";
        let pool: &PgPool = self.queue.pool();
        sqlx::query_as(NEXT).bind(self.number).bind(ENOUGH_TASKS).fetch_one(pool).await
    }

    /// One transaction with a few orders; how many.
    async fn transaction(&mut self, next: i64) -> Result<i32, Error> {
        if self.random.once_in(20) {
            self.changes_its_mind(next).await?;
        }
        let orders = 1 + i64::try_from(self.random.below(3))?;
        let last = (next + orders - 1).min(self.orders);
        let mut tx = self.queue.begin().await?;
        for number in next..=last {
            application::place(&mut tx, self.number, number).await?;
        }
        point("publisher: before its commit");
        around("publisher: around its commit", Duration::from_millis(2));
        tx.commit().await?;
        point("publisher: after its commit");
        if self.random.once_in(20) {
            self.next().await; // waits while there is enough to do
        }
        Ok(i32::try_from(last - next + 1)?)
    }

    /// Publishes, and rolls back: the order never was, and nobody may see its event.
    async fn changes_its_mind(&self, next: i64) -> Result<(), Error> {
        let mut tx = self.queue.begin().await?;
        application::place(&mut tx, self.number, -next).await?;
        Ok(tx.rollback().await?)
    }
}
