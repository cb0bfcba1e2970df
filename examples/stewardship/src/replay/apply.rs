//! Applies lines, each as one transaction through the repositories.

use events_core::Session as _;
use events_sqlx::QueueError;

use super::display::Display;
use super::progress::Progress;
use super::refusals::Refusals;
use super::{Options, ReplayError, read_log};
use crate::change_log::lines::{LONGEST_LINE_BYTES, Line, Lines};
use crate::change_log::{Change, Operation, parse};
use crate::database::Queue;
use crate::repositories::{
    Session, StoreError, connections, links, monitor_stewards, monitors, system_stewards, systems,
    users,
};

/// How often a line is applied from its start again because another transaction stood in its way.
const MOST_CONFLICTS: u32 = 8;

/// Applies the lines of a log, one after the other.
pub(super) struct Applier<'r> {
    queue: &'r Queue,
    display: &'r Display,
    progress: Progress,
    refusals: Refusals,
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
        Self { queue, display, progress, refusals: Refusals::new(verbose), resumed }
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
        let registry = pending.events().registry();
        for event in pending.as_slice() {
            next.events += 1;
            next.tasks += registry.subscribers_of(event.event).len() as u64;
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
            let Err(source) = apply_operations(&mut session, change).await else {
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

async fn apply_operations(session: &mut Session, change: &Change) -> Result<(), StoreError> {
    for operation in change.operations() {
        apply_operation(session, operation).await?;
    }
    Ok(())
}

async fn apply_operation(session: &mut Session, operation: &Operation) -> Result<(), StoreError> {
    match operation {
        Operation::CreateUser { user_id } => users::create(session, user_id).await,
        Operation::CreateSystem { system_id } => systems::create(session, system_id).await,
        Operation::CreateConnection { connection_config_id } => {
            connections::create(session, connection_config_id).await
        }
        Operation::CreateMonitor { key, connection_config_id, inherit_system_stewards } => {
            let connection = connection_config_id.as_deref();
            monitors::create(session, key, connection, *inherit_system_stewards).await
        }
        Operation::AddSteward { system_id, user_id } => {
            system_stewards::add(session, system_id, user_id).await
        }
        Operation::RemoveSteward { system_id, user_id } => {
            system_stewards::remove(session, system_id, user_id).await
        }
        Operation::SetManagedSystems { user_id, system_ids } => {
            system_stewards::set_managed_systems(session, user_id, system_ids).await
        }
        Operation::Link { system_id, connection_config_id } => {
            links::link(session, system_id, connection_config_id).await
        }
        Operation::Unlink { system_id, connection_config_id } => {
            links::unlink(session, system_id, connection_config_id).await
        }
        Operation::SetInheritance { key, enabled } => {
            monitors::set_inheritance(session, key, *enabled).await
        }
        Operation::ReassignConnection { key, connection_config_id } => {
            monitors::reassign_connection(session, key, connection_config_id.as_deref()).await
        }
        Operation::AddExplicitSteward { key, user_id } => {
            monitor_stewards::add_explicit(session, key, user_id).await
        }
        Operation::RemoveExplicitSteward { key, user_id } => {
            monitor_stewards::remove_explicit(session, key, user_id).await
        }
        Operation::Complete { key, operation_type } => {
            monitors::complete_operation(session, key, operation_type).await
        }
    }
}
