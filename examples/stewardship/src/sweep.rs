//! How a sweep goes through the monitors: page by page, so that its memory and its transactions are
//! bounded however many there are, and so that the application goes on beside it.
//!
//! A page is read in one statement, without locks, for the monitors that look wrong; these are taken,
//! looked at again and mended, many in one transaction. If that fails, they are tried in halves,
//! until the one that cannot be mended is known and the others are.

use std::future::Future;

use events_core::reconciler::ReconcilerContext;
use events_core::{Report, Scope};
use events_sqlx::QueueError;

use crate::database::{self, Connection, Queue, one_of};
use crate::inheritance::{self, Converged, Taken};
use crate::repositories::Session;

/// Monitors that one statement looks at.
const PAGE: i64 = 2_000;

/// Monitors that one transaction mends.
const BATCH: usize = 1_000;

/// How often a batch is tried again because another transaction stood in its way.
const MOST_CONFLICTS: u32 = 8;

/// What a sweep looks for, and how it mends it.
pub(crate) trait Rule: Sync {
    /// The monitors of a page, whose keys are after `$1` and up to `$2`, that may be wrong; sorted.
    fn suspects(
        &self,
        connection: &mut Connection,
        after: &str,
        last: &str,
    ) -> impl Future<Output = Result<Vec<String>, sqlx::Error>> + Send;

    /// Makes the derived rows of these monitors what they should be.
    fn mend(
        &self,
        session: &mut Session,
        monitors: &Taken,
    ) -> impl Future<Output = Result<Converged, sqlx::Error>> + Send;
}

/// What keeps a sweep from going on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SweepError {
    /// A transaction could not begin, or not commit.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The database failed.
    #[error("the database could not execute a statement of the sweep")]
    Database(#[from] sqlx::Error),
    /// It was asked to stop, and did; what was mended stays.
    #[error("the sweep was stopped after {checked} monitors; the next one looks at all of them")]
    Stopped {
        /// How many it had looked at.
        checked: u64,
    },
}

impl SweepError {
    /// Whether it is about the rows of some of the monitors. Otherwise the database is away or full,
    /// and trying the others is no use.
    fn is_of_monitors(&self) -> bool {
        matches!(self, Self::Database(error) if database::is_of_rows(error))
    }

    /// Whether another transaction stood in the way, and trying again helps.
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Database(error) if database::is_conflict(error))
    }
}

/// Goes through all monitors, or those given, and mends what is wrong.
pub(crate) async fn sweep(
    rule: &impl Rule,
    scope: Scope,
    queue: &Queue,
    context: &ReconcilerContext,
) -> Result<Report, SweepError> {
    let mut sweep = Sweep { rule, queue, context, report: Report::default() };
    match scope {
        Scope::Keys(keys) => sweep.given(keys).await?,
        Scope::All => sweep.all().await?,
    }
    Ok(sweep.report)
}

struct Sweep<'s, R> {
    rule: &'s R,
    queue: &'s Queue,
    context: &'s ReconcilerContext,
    report: Report,
}

impl<R: Rule> Sweep<'_, R> {
    async fn all(&mut self) -> Result<(), SweepError> {
        let mut after = String::new(); // no name is empty
        while !self.context.cancellation().is_cancelled() {
            let (suspects, count, last) = {
                let mut connection = self.queue.pool().acquire().await?;
                let (count, last) = page(&mut connection, &after).await?;
                let Some(last) = last else { return Ok(()) };
                (self.rule.suspects(&mut connection, &after, &last).await?, count, last)
            };
            self.mend(&suspects).await?;
            self.report.checked += count;
            self.context.progress(&self.report);
            after = last;
        }
        Err(self.stopped())
    }

    async fn given(&mut self, mut keys: Vec<String>) -> Result<(), SweepError> {
        let reason = || "there is no monitor of this key".to_owned();
        keys.sort_unstable();
        keys.dedup();
        // Not every database takes a NUL, and one such key would spoil its batch.
        let (impossible, keys): (Vec<_>, Vec<_>) =
            keys.into_iter().partition(|key| key.contains('\0'));
        self.report.checked += impossible.len() as u64;
        self.report.failed.extend(impossible.into_iter().map(|key| (key, reason())));
        for batch in keys.chunks(BATCH) {
            let known = self.known(batch).await?;
            let unknown = batch.iter().filter(|key| known.binary_search(key).is_err());
            self.report.failed.extend(unknown.map(|key| (key.clone(), reason())));
            self.mend(&known).await?;
            self.report.checked += batch.len() as u64;
        }
        Ok(())
    }

    fn stopped(&self) -> SweepError {
        SweepError::Stopped { checked: self.report.checked }
    }

    /// Those of these monitors that there are, sorted.
    async fn known(&self, keys: &[String]) -> Result<Vec<String>, SweepError> {
        let mut known: Vec<String> = sqlx::query_scalar(concat!(
            "SELECT key FROM monitor_configs WHERE ",
            one_of!("key", "$1")
        ))
        .bind(list(keys))
        .fetch_all(self.queue.pool())
        .await?;
        known.sort_unstable();
        Ok(known)
    }

    async fn mend(&mut self, keys: &[String]) -> Result<(), SweepError> {
        let mut left: Vec<_> = keys.chunks(BATCH).rev().collect();
        let mut conflicts = 0;
        while let Some(batch) = left.pop() {
            if self.context.cancellation().is_cancelled() {
                return Err(self.stopped());
            }
            match self.mend_batch(batch).await {
                Ok(changed) => {
                    conflicts = 0;
                    self.report.added += changed.added;
                    self.report.removed += changed.removed;
                }
                Err(error) if error.is_conflict() && conflicts < MOST_CONFLICTS => {
                    conflicts += 1;
                    left.push(batch);
                }
                Err(error) if !error.is_of_monitors() => return Err(error),
                Err(error) => match batch {
                    [key] => self.report.failed.push((key.clone(), told(&error))),
                    several => {
                        let (first, second) = several.split_at(several.len() / 2);
                        left.extend([second, first]);
                    }
                },
            }
        }
        Ok(())
    }

    async fn mend_batch(&self, keys: &[String]) -> Result<Converged, SweepError> {
        let mut session = self.queue.begin().await?;
        let taken = inheritance::take_monitors(&mut session, &list(keys)).await?;
        let changed = self.rule.mend(&mut session, &taken).await?;
        session.commit().await?;
        Ok(changed)
    }
}

/// How many monitors the page after this key has, and the last of them.
async fn page(
    connection: &mut Connection,
    after: &str,
) -> Result<(u64, Option<String>), sqlx::Error> {
    let (count, last): (i64, Option<String>) = sqlx::query_as(
        "SELECT count(*), max(key) FROM (
             SELECT key FROM monitor_configs WHERE key > $1 ORDER BY key LIMIT $2) AS page",
    )
    .bind(after)
    .bind(PAGE)
    .fetch_one(connection)
    .await?;
    Ok((count.cast_unsigned(), last))
}

/// As the statements take it.
fn list(keys: &[String]) -> String {
    serde_json::to_string(keys).expect("texts are JSON")
}

/// The error with its cause.
fn told(error: &SweepError) -> String {
    use std::error::Error as _;
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}
