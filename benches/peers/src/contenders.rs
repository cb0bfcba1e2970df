//! Who is measured: bare statements, this project and its peers, all through the same few calls.

mod apalis;
mod floor;
mod graphile;
mod ours;
mod river;
mod sqlxmq;

use std::ops::Range;

use async_trait::async_trait;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

pub(crate) use self::floor::BareClaims;
pub(crate) use self::ours::{Claims, publish_for_tomorrow};
use crate::Failed;
use crate::job::Handler;

/// How publishing one task is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Publish {
    /// As a program does that writes nothing else: the contender's shortest way.
    Alone,
    /// Within a transaction of the application: begin, publish, commit.
    InTransaction,
}

/// A queue in an open database.
#[async_trait]
pub(crate) trait Queue: Send + Sync {
    /// Publishes one task for a handler that does nothing, and commits. A lane is a publisher of
    /// which no two calls run at once.
    async fn publish(&self, lane: usize, number: u64, how: Publish) -> Result<Committing, Failed>;

    /// Publishes tasks in one transaction, as fast as the contender can.
    async fn publish_many(
        &self,
        lane: usize,
        numbers: Range<u64>,
        handler: Handler,
    ) -> Result<(), Failed>;

    /// Wakes an idle worker after a commit, where that is not part of publishing.
    async fn wake(&self, _lane: usize) -> Result<(), Failed> {
        Ok(())
    }

    /// Starts a worker for tasks of this kind.
    async fn work(&self, handler: Handler) -> Result<Box<dyn Work>, Failed>;

    /// Asks whether any task is not completed: one row, one boolean.
    fn unfinished(&self) -> &'static str;
}

/// When the publisher was told that its task is committed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Committing {
    pub(crate) committed: u64,
}

impl Committing {
    pub(crate) fn now() -> Self {
        Self { committed: crate::handled::now() }
    }
}

/// A worker at work.
#[async_trait]
pub(crate) trait Work: Send {
    /// Lets running handlers finish, and ends it.
    async fn stop(self: Box<Self>) -> Result<(), Failed>;
}

/// A worker that is a spawned task.
pub(crate) struct Spawned(tokio::task::JoinHandle<()>);

#[async_trait]
impl Work for Spawned {
    async fn stop(self: Box<Self>) -> Result<(), Failed> {
        self.0.abort();
        self.0.await.ok();
        Ok(())
    }
}

pub(crate) const FLOOR: &str = "floor";
/// Bare statements in one round trip, where a driver can.
pub(crate) const PIPELINED: &str = "floor-pipelined";
/// The floor on the table of this project's queue.
pub(crate) const OWN_TABLE: &str = "floor-own-table";
pub(crate) const OURS: &str = "events";
/// Those whose API completes a task in the transaction of its handler.
pub(crate) const TRANSACTIONAL_PEERS: [&str; 2] = ["riverqueue", "sqlxmq"];
pub(crate) const PEERS: [&str; 4] = ["riverqueue", "graphile_worker", "apalis-postgres", "sqlxmq"];

/// Opens a contender's queue: its tables, and connections for as many lanes.
pub(crate) async fn open(name: &str, url: &str, lanes: u32) -> Result<Box<dyn Queue>, Failed> {
    Ok(match name {
        FLOOR => Box::new(floor::Floor::open(url, lanes, floor::Shape::Prepared).await?),
        PIPELINED => Box::new(floor::Floor::open(url, lanes, floor::Shape::Pipelined).await?),
        OWN_TABLE => Box::new(ours::own_table(url, lanes).await?),
        OURS => Box::new(ours::Ours::open(url, lanes).await?),
        "riverqueue" => Box::new(river::River::open(url, lanes).await?),
        "graphile_worker" => Box::new(graphile::Graphile::open(url, lanes).await?),
        "apalis-postgres" => Box::new(apalis::Apalis::open(url, lanes).await?),
        "sqlxmq" => Box::new(sqlxmq::Sqlxmq::open(url, lanes).await?),
        other => return Err(format!("{other} is no contender").into()),
    })
}

/// A pool that asks nothing of a connection before it hands it out: one round trip less for all.
async fn pool(url: &str, connections: u32) -> Result<PgPool, Failed> {
    Ok(PgPoolOptions::new()
        .min_connections(connections)
        .max_connections(connections)
        .test_before_acquire(false)
        .connect(url)
        .await?)
}
