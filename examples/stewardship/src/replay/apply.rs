//! Applies lines, each as one transaction through the repositories.

use events_core::Session as _;
use events_sqlx::QueueError;

use super::display::Display;
use super::progress::Progress;
use super::refusals::Refusals;
use super::sweeps::Swept;
use super::{Options, ReplayError, read_log};
use crate::change_log::lines::{LONGEST_LINE_BYTES, Line, Lines};
use crate::change_log::{self, Change, parse};
use crate::database::Queue;
use crate::repositories::{Session, StoreError};

/// How often a line is applied from its start again because another transaction stood in its way.
const MOST_CONFLICTS: u32 = 8;

/// Applies the lines of a log, one after the other.
pub(super) struct Applier<'r> {
    queue: &'r Queue,
    display: &'r Display,
    progress: Progress,
    refusals: Refusals,
    /// What the sweeps of the log came to.
    swept: Swept,
    /// Lines that earlier runs dealt with.
    resumed: u64,
}

impl<'r> Applier<'r> {
    pub(super) fn new(
        queue: &'r Queue,
        progress: Progress,
        display: &'r Display,
        verbose: bool,
    ) -> Self {
        let resumed = progress.lines;
        let refusals = Refusals::new(verbose);
        Self { queue, display, progress, refusals, swept: Swept::default(), resumed }
    }

    pub(super) fn swept(&self) -> &Swept {
        &self.swept
    }

    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    pub(super) fn resumed(&self) -> u64 {
        self.resumed
    }

    pub(super) fn summarise_refusals(&self) {
        self.refusals.summarise(self.display);
    }

    /// Applies every line that is left.
    pub(super) async fn apply_all(
        &mut self,
        lines: &mut Lines,
        options: &Options,
    ) -> Result<(), ReplayError> {
        while let Some(line) = lines.next_line().map_err(|error| read_log(options, error))? {
            let mut next = self.progress.clone();
            next.lines += 1;
            next.position = lines.position();
            self.apply(&line, next).await?;
            self.display.applied(&self.progress);
        }
        Ok(())
    }

    /// Applies one line; `next` is the progress with it.
    async fn apply(&mut self, line: &Line, next: Progress) -> Result<(), ReplayError> {
        let change = match line {
            Line::Bytes(bytes) => parse(bytes).map_err(|malformed| malformed.to_string()),
            Line::TooLong => Err(format!("longer than {} MiB", LONGEST_LINE_BYTES >> 20)),
        };
        match change {
            Ok(Change::Sweep(_)) => {
                self.swept.add(super::sweeps::sweep(self.queue).await?);
                self.keep_alone(next).await
            }
            Ok(change) => self.change(&change, next).await,
            Err(reason) => self.refuse(next, &reason).await,
        }
    }

    async fn change(&mut self, change: &Change, mut next: Progress) -> Result<(), ReplayError> {
        let line = next.lines;
        let session = match self.applied(change, line).await? {
            Ok(session) => session,
            Err(refused) => return self.refuse(next, &refused.to_string()).await,
        };
        if change.is_rolled_back() {
            session.rollback().await.map_err(|source| ReplayError::Commit { line, source })?;
            return self.keep_alone(next).await;
        }
        let pending = session.pending_events();
        let events = pending.events();
        for event in pending.as_slice() {
            next.events += 1;
            // Those that are debounced are not one for each event.
            let subscribers = events.registry().subscribers_of(event.event).iter();
            let tasks = subscribers.filter(|subscriber| subscriber.debounce.is_none()).count();
            next.tasks += if events.is_enabled() { tasks as u64 } else { 0 };
        }
        self.keep(session, next).await
    }

    /// The session with the change applied, or why it was refused; then nothing is left of it.
    async fn applied(
        &self,
        change: &Change,
        line: u64,
    ) -> Result<Result<Session, StoreError>, ReplayError> {
        let mut conflicts = 0;
        loop {
            let mut session = self.begin(line).await?;
            let Err(source) = change_log::apply(&mut session, change).await else {
                return Ok(Ok(session));
            };
            session.rollback().await.map_err(|source| ReplayError::Commit { line, source })?;
            if source.is_refusal() {
                return Ok(Err(source));
            }
            if !source.is_conflict() || conflicts == MOST_CONFLICTS {
                return Err(ReplayError::Apply { line, source });
            }
            conflicts += 1;
        }
    }

    async fn refuse(&mut self, mut next: Progress, reason: &str) -> Result<(), ReplayError> {
        next.refused += 1;
        self.refusals.report(self.display, next.lines, reason);
        self.keep_alone(next).await
    }

    /// Nothing of the line is in the database; only that it is dealt with.
    async fn keep_alone(&mut self, next: Progress) -> Result<(), ReplayError> {
        let session = self.begin(next.lines).await?;
        self.keep(session, next).await
    }

    /// The progress commits with what the line did, or not at all.
    async fn keep(&mut self, mut session: Session, next: Progress) -> Result<(), ReplayError> {
        let kept = next.keep(session.connection()).await.map_err(ReplayError::Progress)?;
        if !kept {
            return Err(ReplayError::AnotherReplay);
        }
        session
            .commit()
            .await
            .map_err(|source| ReplayError::Commit { line: next.lines, source })?;
        self.progress = next;
        Ok(())
    }

    async fn begin(&self, line: u64) -> Result<Session, ReplayError> {
        let begun: Result<Session, QueueError> = self.queue.begin().await;
        begun.map_err(|source| ReplayError::Commit { line, source })
    }
}
