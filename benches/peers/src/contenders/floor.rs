//! Bare statements: what a queue by hand could do with the least.
//!
//! A worker is one fetcher, which claims batches of 500, and one completer, which deletes them by
//! their ids: two statements on two connections. Waiting tasks are claimed when a notification comes
//! or when a batch was full.

use std::ops::Range;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sqlx::postgres::PgListener;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use super::{Committing, Publish, Queue, Spawned, Work};
use crate::Failed;
use crate::handled;
use crate::job::{EFFECTS, Handler, INSERT_EFFECT, Job};

pub(super) const BATCH: i64 = 500;
const RECORDERS: usize = 16;
/// Batches that were claimed and not yet deleted.
const AHEAD: usize = 4;
const CHANNEL: &str = "tasks";
const POLL: Duration = Duration::from_millis(500);

/// How the floor writes a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Begin, a prepared insert, commit: three round trips.
    Prepared,
    /// The three in one text and one round trip.
    Pipelined,
}

/// The statements of a floor: they differ with the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Statements {
    pub(super) insert: &'static str,
    /// Takes the number of the first and of the last, and the payload.
    pub(super) insert_many: &'static str,
    /// Returns the id and the payload.
    pub(super) claim: &'static str,
    pub(super) delete_many: &'static str,
    pub(super) delete: &'static str,
    pub(super) unfinished: &'static str,
}

const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS tasks (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        queue text NOT NULL,
        priority smallint NOT NULL,
        due_at timestamptz NOT NULL,
        payload text NOT NULL,
        attempt integer NOT NULL DEFAULT 0,
        leased_by bigint
    );
    CREATE INDEX IF NOT EXISTS tasks_waiting ON tasks (queue, priority, due_at, id)
        WHERE leased_by IS NULL;
";

const MINIMAL: Statements = Statements {
    insert: "INSERT INTO tasks (queue, priority, due_at, payload) VALUES ('events', 0, now(), $1)",
    insert_many: "INSERT INTO tasks (queue, priority, due_at, payload)
        SELECT 'events', 0, now(), payload FROM unnest($1::text[]) AS payload",
    claim: "UPDATE tasks SET leased_by = 1, attempt = attempt + 1
        WHERE id = ANY (ARRAY(
            SELECT id FROM tasks
            WHERE queue = 'events' AND leased_by IS NULL AND due_at <= now()
            ORDER BY priority, due_at, id
            LIMIT $1
            FOR UPDATE SKIP LOCKED))
        RETURNING id, payload",
    delete_many: "DELETE FROM tasks WHERE id = ANY ($1)",
    delete: "DELETE FROM tasks WHERE id = $1",
    unfinished: "SELECT EXISTS (SELECT FROM tasks)",
};

pub(super) struct Floor {
    url: String,
    shape: Shape,
    statements: Statements,
    lanes: Vec<Mutex<PgConnection>>,
}

impl Floor {
    pub(super) async fn open(url: &str, lanes: u32, shape: Shape) -> Result<Self, Failed> {
        let mut connection = PgConnection::connect(url).await?;
        sqlx::raw_sql(TABLE).execute(&mut connection).await?;
        sqlx::raw_sql(EFFECTS).execute(&mut connection).await?;
        Self::on(url, lanes, shape, MINIMAL).await
    }

    /// On a table that exists.
    pub(super) async fn on(
        url: &str,
        lanes: u32,
        shape: Shape,
        statements: Statements,
    ) -> Result<Self, Failed> {
        let mut connections = Vec::new();
        for _ in 0..lanes.max(1) {
            connections.push(Mutex::new(PgConnection::connect(url).await?));
        }
        Ok(Self { url: url.into(), shape, statements, lanes: connections })
    }
}

#[async_trait]
impl Queue for Floor {
    async fn publish(&self, lane: usize, number: u64, _: Publish) -> Result<Committing, Failed> {
        let mut connection = self.lanes[lane].lock().await;
        let payload = Job::json(number);
        if self.shape == Shape::Pipelined {
            let insert = self.statements.insert.replace("$1", &format!("'{payload}'"));
            let text = AssertSqlSafe(format!("BEGIN; {insert}; COMMIT"));
            sqlx::raw_sql(text).execute(&mut *connection).await?;
            return Ok(Committing::now());
        }
        let mut transaction = connection.begin().await?;
        sqlx::query(self.statements.insert).bind(payload).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(Committing::now())
    }

    async fn wake(&self, lane: usize) -> Result<(), Failed> {
        let mut connection = self.lanes[lane].lock().await;
        sqlx::query("NOTIFY tasks").execute(&mut *connection).await?;
        Ok(())
    }

    async fn publish_many(
        &self,
        lane: usize,
        numbers: Range<u64>,
        _: Handler,
    ) -> Result<(), Failed> {
        let mut connection = self.lanes[lane].lock().await;
        let payloads: Vec<String> = numbers.map(Job::json).collect();
        let mut transaction = connection.begin().await?;
        sqlx::query(self.statements.insert_many).bind(payloads).execute(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }

    async fn work(&self, handler: Handler) -> Result<Box<dyn Work>, Failed> {
        let (claimed, batches) = mpsc::channel(AHEAD);
        let fetcher = Fetcher::open(&self.url, self.statements.claim, claimed).await?;
        let completer = match handler {
            Handler::Ignore => {
                let connection = PgConnection::connect(&self.url).await?;
                tokio::spawn(complete(connection, self.statements.delete_many, batches))
            }
            Handler::Record => {
                let delete = self.statements.delete;
                let (tasks, recorders) = recorders(&self.url, delete).await?;
                tokio::spawn(async move { hand_out(batches, tasks, recorders).await })
            }
        };
        let worker = tokio::spawn(async move {
            // Whichever ends, ends the other: the fetcher never does by itself.
            let ended = tokio::select! {
                ended = fetcher.run() => ended,
                ended = completer => ended.map_err(Failed::from).and_then(|ended| ended),
            };
            if let Err(error) = ended {
                eprintln!("the floor's worker ended: {error}");
            }
        });
        Ok(Box::new(Spawned(worker)))
    }

    fn unfinished(&self) -> &'static str {
        self.statements.unfinished
    }
}

/// A task that was claimed.
struct Claimed {
    id: i64,
    payload: String,
}

struct Fetcher {
    connection: PgConnection,
    listener: PgListener,
    claim: &'static str,
    claimed: mpsc::Sender<Vec<Claimed>>,
}

impl Fetcher {
    async fn open(
        url: &str,
        claim: &'static str,
        claimed: mpsc::Sender<Vec<Claimed>>,
    ) -> Result<Self, Failed> {
        let connection = PgConnection::connect(url).await?;
        let mut listener = PgListener::connect(url).await?;
        listener.listen(CHANNEL).await?;
        Ok(Self { connection, listener, claim, claimed })
    }

    async fn run(mut self) -> Result<(), Failed> {
        loop {
            let rows = sqlx::query(self.claim).bind(BATCH).fetch_all(&mut self.connection).await?;
            let full = rows.len() == usize::try_from(BATCH)?;
            let mut batch = Vec::with_capacity(rows.len());
            for row in &rows {
                batch.push(Claimed { id: row.try_get(0)?, payload: row.try_get(1)? });
            }
            if !batch.is_empty() {
                self.claimed.send(batch).await?;
            }
            if !full {
                // No notification for this long: look anyway.
                tokio::time::timeout(POLL, self.listener.recv()).await.ok().transpose()?;
            }
        }
    }
}

/// Handles batches and deletes them.
async fn complete(
    mut connection: PgConnection,
    delete: &'static str,
    mut batches: mpsc::Receiver<Vec<Claimed>>,
) -> Result<(), Failed> {
    while let Some(batch) = batches.recv().await {
        let mut ids = Vec::with_capacity(batch.len());
        for task in batch {
            handled::note_payload(&task.payload);
            ids.push(task.id);
        }
        sqlx::query(delete).bind(ids).execute(&mut connection).await?;
    }
    Ok(())
}

type Recorder = JoinHandle<Result<(), Failed>>;

/// Handlers that delete their task, write one row and commit, each on a connection of its own.
async fn recorders(
    url: &str,
    delete: &'static str,
) -> Result<(Vec<mpsc::Sender<Claimed>>, Vec<Recorder>), Failed> {
    let (mut senders, mut recorders) = (Vec::new(), Vec::new());
    for _ in 0..RECORDERS {
        let (sender, mut tasks) = mpsc::channel::<Claimed>(64);
        let mut connection = PgConnection::connect(url).await?;
        senders.push(sender);
        recorders.push(tokio::spawn(async move {
            while let Some(task) = tasks.recv().await {
                let mut transaction = connection.begin().await?;
                sqlx::query(delete).bind(task.id).execute(&mut *transaction).await?;
                handled::note_payload(&task.payload);
                sqlx::query(INSERT_EFFECT).bind(task.id).execute(&mut *transaction).await?;
                transaction.commit().await?;
            }
            Ok(())
        }));
    }
    Ok((senders, recorders))
}

async fn hand_out(
    mut batches: mpsc::Receiver<Vec<Claimed>>,
    recorders: Vec<mpsc::Sender<Claimed>>,
    ends: Vec<Recorder>,
) -> Result<(), Failed> {
    let mut next = recorders.iter().cycle();
    while let Some(batch) = batches.recv().await {
        for task in batch {
            next.next().ok_or("there are recorders")?.send(task).await?;
        }
    }
    drop(recorders);
    for end in ends {
        end.await??;
    }
    Ok(())
}

/// Claims by hand, timed.
pub(crate) struct BareClaims {
    connection: PgConnection,
    publisher: Floor,
}

impl BareClaims {
    pub(crate) async fn open(url: &str) -> Result<Self, Failed> {
        let publisher = Floor::open(url, 1, Shape::Prepared).await?;
        Ok(Self { connection: PgConnection::connect(url).await?, publisher })
    }

    pub(crate) async fn publish(&self, tasks: u64) -> Result<(), Failed> {
        self.publisher.publish_many(0, 0..tasks, Handler::Ignore).await
    }

    /// Claims once, timed, and deletes what was claimed.
    pub(crate) async fn claim(&mut self, limit: usize) -> Result<Duration, Failed> {
        let Statements { claim, delete_many, .. } = self.publisher.statements;
        let started = Instant::now();
        let rows =
            sqlx::query(claim).bind(i64::try_from(limit)?).fetch_all(&mut self.connection).await?;
        let took = started.elapsed();
        let ids: Vec<i64> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        sqlx::query(delete_many).bind(ids).execute(&mut self.connection).await?;
        Ok(took)
    }
}
