//! What is in the database in the end, beside what was promised.

use sqlx::PgPool;

use crate::application::{AT_LEAST_ONCE, ONCE, POISONED};
use crate::arguments::Run;

/// The effects of one subscriber.
#[derive(Debug)]
pub struct Effects {
    pub subscriber: &'static str,
    pub exactly_once: bool,
    /// How many there are.
    pub total: i64,
    /// How many there are too many of an order that has one.
    pub duplicates: i64,
    /// Orders that were committed, without effect.
    pub missing: i64,
    /// Effects of orders that were never committed.
    pub unknown: i64,
}

/// Everything that is left in the end.
#[derive(Debug)]
pub struct Ending {
    pub orders: i64,
    pub effects: Vec<Effects>,
    pub tasks: i64,
    /// Poison that was committed, and poison that is a dead letter.
    pub poison: i64,
    pub dead_poison: i64,
    /// Other dead letters.
    pub dead_letters: i64,
    /// Registered, though all have ended.
    pub workers: i64,
}

impl Ending {
    pub async fn look(pool: &PgPool) -> Result<Self, sqlx::Error> {
        let mut effects = Vec::new();
        for subscriber in ONCE {
            effects.push(Effects::look(pool, ONCE_SQL, subscriber, true).await?);
        }
        for subscriber in AT_LEAST_ONCE {
            effects.push(Effects::look(pool, AT_LEAST_SQL, subscriber, false).await?);
        }
        let count = |sql: &'static str| sqlx::query_scalar(sql).fetch_one(pool);
        Ok(Self {
            effects,
            orders: count("SELECT count(*) FROM orders").await?,
            tasks: count("SELECT count(*) FROM events.tasks").await?,
            poison: sqlx::query_scalar("SELECT count(*) FROM orders WHERE number = $1")
                .bind(POISONED)
                .fetch_one(pool)
                .await?,
            dead_poison: count(
                "SELECT count(*) FROM events.dead_letters WHERE name LIKE '%.swallow'",
            )
            .await?,
            dead_letters: count(
                "SELECT count(*) FROM events.dead_letters WHERE name NOT LIKE '%.swallow'",
            )
            .await?,
            workers: workers(pool).await?,
        })
    }

    /// Every promise that was not kept, as a sentence.
    pub fn broken_promises(&self, run: &Run) -> Vec<String> {
        let mut broken = Vec::new();
        let mut none = |count: i64, what: &str| {
            if count != 0 {
                broken.push(format!("{count} {what}"));
            }
        };
        none(run.events - self.orders, "orders were not placed");
        none(self.tasks, "tasks are left");
        none(self.poison - self.dead_poison, "handlers that abort are no dead letters");
        none(self.dead_letters, "tasks are dead letters");
        none(self.workers, "workers are registered that are gone");
        for effects in &self.effects {
            let subscriber = effects.subscriber;
            none(effects.missing, &format!("committed events have no effect of `{subscriber}`"));
            none(effects.unknown, &format!("effects of `{subscriber}` have no committed event"));
            if effects.exactly_once {
                none(effects.duplicates, &format!("effects of `{subscriber}` are duplicates"));
            }
        }
        broken
    }
}

/// How many workers are registered.
pub async fn workers(pool: &PgPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT count(*) FROM events.workers").fetch_one(pool).await
}

macro_rules! effects {
    ($table:literal) => {
        concat!(
            "WITH mine AS MATERIALIZED (
                SELECT publisher, number, count(*) AS times FROM ",
            $table,
            " WHERE subscriber = $1 GROUP BY publisher, number
            )
            SELECT
                coalesce(sum(times), 0)::bigint,
                coalesce(sum(times - 1), 0)::bigint,
                count(*) FILTER (WHERE mine.number IS NULL),
                count(*) FILTER (WHERE orders.number IS NULL)
            FROM orders FULL JOIN mine USING (publisher, number)"
        )
    };
}

const ONCE_SQL: &str = effects!("effects_once");
const AT_LEAST_SQL: &str = effects!("effects_at_least");

impl Effects {
    async fn look(
        pool: &PgPool,
        sql: &'static str,
        subscriber: &'static str,
        exactly_once: bool,
    ) -> Result<Self, sqlx::Error> {
        let (total, duplicates, missing, unknown) =
            sqlx::query_as(sql).bind(subscriber).fetch_one(pool).await?;
        Ok(Self { subscriber, exactly_once, total, duplicates, missing, unknown })
    }
}
