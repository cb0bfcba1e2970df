//! How far the replay has come, kept in the database that it changes.

use crate::change_log::lines::Position;
use crate::database::{Connection, Pool, locked};

/// How far the replay has come, over all its runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Lines that are dealt with, applied or refused.
    pub lines: u64,
    /// Where they end in the log.
    pub position: Position,
    /// Lines that were refused.
    pub refused: u64,
    /// Events that were published and committed.
    pub events: u64,
    /// Tasks that were made of them.
    pub tasks: u64,
}

impl Progress {
    /// Lines that were applied, or applied and rolled back because they say so.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.lines - self.refused
    }

    /// What the database has seen. This waits for the last line of a replay that was killed while
    /// its database committed, and so holds the row.
    ///
    /// # Errors
    /// The database failed.
    pub async fn load(pool: &Pool) -> Result<Self, sqlx::Error> {
        sqlx::query(
            "INSERT INTO replay_progress (id, lines, bytes, prefix_hash, refused, events, tasks)
             VALUES (1, 0, 0, $1, 0, 0, 0) ON CONFLICT DO NOTHING",
        )
        .bind(Position::START.hash.cast_signed())
        .execute(pool)
        .await?;
        let (lines, bytes, hash, refused, events, tasks): (i64, i64, i64, i64, i64, i64) =
            sqlx::query_as(locked!(
                "SELECT lines, bytes, prefix_hash, refused, events, tasks FROM replay_progress"
            ))
            .fetch_one(pool)
            .await?;
        Ok(Self {
            lines: lines.cast_unsigned(),
            position: Position { bytes: bytes.cast_unsigned(), hash: hash.cast_unsigned() },
            refused: refused.cast_unsigned(),
            events: events.cast_unsigned(),
            tasks: tasks.cast_unsigned(),
        })
    }

    /// Keeps this, if what is kept is still the state before this line. Whether it was.
    ///
    /// # Errors
    /// The database failed.
    pub async fn keep(&self, connection: &mut Connection) -> Result<bool, sqlx::Error> {
        let kept = sqlx::query(
            "UPDATE replay_progress
             SET lines = $1, bytes = $2, prefix_hash = $3, refused = $4, events = $5, tasks = $6
             WHERE lines = $1 - 1",
        )
        .bind(self.lines.cast_signed())
        .bind(self.position.bytes.cast_signed())
        .bind(self.position.hash.cast_signed())
        .bind(self.refused.cast_signed())
        .bind(self.events.cast_signed())
        .bind(self.tasks.cast_signed())
        .execute(connection)
        .await?;
        Ok(kept.rows_affected() == 1)
    }
}
