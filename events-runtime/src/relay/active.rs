//! The loop of the relay that holds the lease: reads, sends, records.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use events_core::broker::BrokerError;
use events_core::context::Cancellation;
use events_core::events::log_dispatched;
use events_core::outbox::{Outbox, OutboxBatch, OutboxRow, OutboxSettlement};
use events_core::transport::{Transport, TransportError};
use events_core::{Task, TaskId};
use futures_util::FutureExt;
use tokio::time::{Instant, sleep};

use super::Relay;
use super::holding::Holding;
use super::outcome::{Outcome, outcome};
use super::trouble::Trouble;

/// Between two polls. The wake-up is only a hint.
const POLL: Duration = Duration::from_secs(1);

/// How long the batch under way may go on once the relay is to stop.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// How it ended.
pub(super) enum End {
    /// It was told to stop.
    Stopped,
    /// Another relay has the lease.
    Lost,
}

/// What is next.
enum Next {
    Go,
    /// Nothing waits.
    Rest,
    /// The next try comes later.
    Wait(Duration),
    End(End),
}

pub(super) struct Active<'r, O, T> {
    relay: &'r Relay<O, T>,
    holding: &'r Holding,
    /// What was read while the batch before was sent.
    ahead: Option<OutboxBatch>,
    /// Rows that were told to be unreadable, and are passed over.
    unreadable: Vec<i64>,
    database: Trouble,
    transport: Trouble,
}

/// A batch as it is handed to the transport.
struct Parcel {
    rows: Vec<(i64, Vec<TaskId>)>,
    tasks: Vec<Task>,
}

impl Parcel {
    fn of(rows: Vec<OutboxRow>) -> Self {
        let ids = |row: &OutboxRow| (row.id, row.tasks.iter().map(|task| task.id).collect());
        let ids = rows.iter().map(ids).collect();
        Self { rows: ids, tasks: rows.into_iter().flat_map(|row| row.tasks).collect() }
    }
}

/// How a transport took a batch.
type Sent = Result<(), TransportError>;

impl<'r, O: Outbox, T: Transport> Active<'r, O, T> {
    pub(super) fn new(relay: &'r Relay<O, T>, holding: &'r Holding) -> Self {
        Self {
            relay,
            holding,
            ahead: None,
            unreadable: Vec::new(),
            database: Trouble::default(),
            transport: Trouble::default(),
        }
    }

    pub(super) async fn serve(mut self, stop: &Cancellation) -> End {
        loop {
            if stop.is_cancelled() {
                return End::Stopped;
            }
            let next = match self.step(stop).await {
                Ok(next) => {
                    self.database.is_over();
                    next
                }
                Err(error) => Next::Wait(self.database_fails(&error)),
            };
            let pause = match next {
                Next::Go => continue,
                Next::End(end) => return end,
                Next::Rest => POLL.mul_f64(0.75 + 0.5 * fastrand::f64()),
                Next::Wait(pause) => pause,
            };
            let rests = matches!(next, Next::Rest);
            tokio::select! {
                () = sleep(pause) => {}
                () = self.relay.outbox.wake_relay(), if rests => {}
                () = self.holding.keep(&self.relay.outbox) => return End::Lost,
                () = stop.cancelled() => {}
            }
        }
    }

    fn database_fails(&mut self, error: &BrokerError) -> Duration {
        self.ahead = None;
        let pause = self.database.pause();
        if self.database.is_to_be_told() {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                outbox = self.relay.name,
                "an outbox could not be read or written; trying again"
            );
        }
        pause
    }

    /// Sends one batch, if there is one.
    async fn step(&mut self, stop: &Cancellation) -> Result<Next, BrokerError> {
        let batch = match self.ahead.take() {
            Some(batch) => batch,
            None => {
                let Relay { outbox, batch, .. } = self.relay;
                outbox.read_outbox(self.holding.lease(), &self.unreadable, *batch).await?
            }
        };
        self.tell_unreadable(&batch);
        if batch.rows.is_empty() {
            // Behind what cannot be read there may be more.
            return Ok(if batch.unreadable.is_empty() { Next::Rest } else { Next::Go });
        }
        if !self.holding.is_certain() {
            // It stood still, or could not renew the lease: whose it is, the database says.
            if !self.holding.renew(&self.relay.outbox).await? {
                return Ok(Next::End(End::Lost));
            }
            return Ok(if self.holding.is_certain() { Next::Go } else { Next::Wait(POLL) });
        }
        self.send(Parcel::of(batch.rows), stop).await
    }

    fn tell_unreadable(&mut self, batch: &OutboxBatch) {
        for (row, error) in &batch.unreadable {
            self.unreadable.push(*row);
            tracing::error!(
                error = &**error as &dyn std::error::Error,
                outbox = self.relay.name,
                row,
                "a row of an outbox cannot be read and is passed over; repair or delete it, and restart the relay if it is to be sent"
            );
        }
    }

    async fn send(&mut self, parcel: Parcel, stop: &Cancellation) -> Result<Next, BrokerError> {
        let Parcel { rows, tasks } = parcel;
        let kept = tracing::enabled!(tracing::Level::DEBUG).then(|| tasks.clone());
        let Relay { outbox, transport, batch, .. } = self.relay;
        let mut except = self.unreadable.clone();
        except.extend(rows.iter().map(|(row, _)| *row));
        // A failure shows again when it is read in its turn.
        let ahead = async { outbox.read_outbox(self.holding.lease(), &except, *batch).await.ok() };
        let sending = AssertUnwindSafe(transport.send(tasks)).catch_unwind();
        let sent_and_read = async { tokio::join!(sending, ahead) };
        let give_up = async {
            stop.cancelled().await;
            sleep(LAST_WORDS).await;
        };
        let (sent, ahead) = tokio::select! {
            sent_and_read = sent_and_read => sent_and_read,
            () = self.holding.keep(outbox) => return Ok(Next::End(End::Lost)),
            () = give_up => {
                tracing::warn!(
                    outbox = self.relay.name,
                    "a batch was still under way when the relay had to stop; its tasks are sent again"
                );
                return Ok(Next::End(End::Stopped));
            }
        };
        self.ahead = ahead;
        let Ok(sent) = sent else {
            return Ok(self.transport_fails("the transport panicked").await);
        };
        self.record(&rows, sent, kept, stop).await
    }

    /// Deletes what was sent, buries what never can be, and leaves the rest.
    async fn record(
        &mut self,
        rows: &[(i64, Vec<TaskId>)],
        sent: Sent,
        kept: Option<Vec<Task>>,
        stop: &Cancellation,
    ) -> Result<Next, BrokerError> {
        let Outcome { settlement, sent, waits } = match sent {
            Ok(()) => Outcome {
                settlement: OutboxSettlement {
                    done: rows.iter().map(|(row, _)| *row).collect(),
                    ..OutboxSettlement::default()
                },
                sent: rows.iter().map(|(_, tasks)| tasks.len()).sum(),
                waits: None,
            },
            Err(error) => outcome(rows, error.into_unsent()),
        };
        if !self.settle(&settlement, stop).await? {
            return Ok(Next::End(End::Lost));
        }
        log_sent(kept, &settlement, waits.is_some());
        self.log_refused(&settlement);
        let Some(reason) = waits else {
            if let Some(after) = self.transport.is_over() {
                tracing::info!(
                    outbox = self.relay.name,
                    ?after,
                    "tasks of an outbox are sent again"
                );
            }
            return Ok(Next::Go);
        };
        if sent > 0 {
            self.transport.eases();
        }
        Ok(self.transport_fails(&reason).await)
    }

    /// Tries until the database takes it: what was sent must not be sent again needlessly. Whether
    /// the lease was held.
    async fn settle(
        &mut self,
        settlement: &OutboxSettlement,
        stop: &Cancellation,
    ) -> Result<bool, BrokerError> {
        let OutboxSettlement { done, rest, refused } = settlement;
        if done.is_empty() && rest.is_empty() && refused.is_empty() {
            return Ok(true);
        }
        let Relay { outbox, .. } = self.relay;
        loop {
            let (lease, term, asked) = (self.holding.lease(), self.holding.term(), Instant::now());
            match outbox.settle_outbox(lease, settlement, term).await {
                Ok(held) => {
                    if held {
                        self.holding.renewed(asked);
                    }
                    return Ok(held);
                }
                Err(error) if stop.is_cancelled() => return Err(error),
                Err(error) => {
                    let ahead = self.ahead.take();
                    let pause = self.database_fails(&error).min(POLL);
                    self.ahead = ahead;
                    sleep(pause).await;
                }
            }
        }
    }

    fn log_refused(&self, settlement: &OutboxSettlement) {
        for (task, reason) in &settlement.refused {
            tracing::error!(
                event_id = %task.event_id,
                event = &*task.event,
                subscriber = &*task.name,
                task_id = %task.id,
                queue = &*task.queue,
                outbox = self.relay.name,
                error = reason,
                "a task can never be sent and is a dead letter now; mend the cause and retry it, or discard it"
            );
        }
    }

    /// The next try comes later, and with what was not sent.
    async fn transport_fails(&mut self, reason: &str) -> Next {
        self.ahead = None;
        let Relay { outbox, name, .. } = self.relay;
        let pause = self.transport.pause();
        if self.transport.is_to_be_told() {
            let backlog = outbox.outbox_backlog(name).await.unwrap_or_default();
            tracing::warn!(
                error = reason,
                outbox = name,
                tasks = backlog.tasks,
                oldest = ?backlog.oldest,
                "tasks of an outbox cannot be sent and wait; trying again until the broker takes them"
            );
        }
        Next::Wait(pause)
    }
}

/// Only where somebody reads it.
fn log_sent(kept: Option<Vec<Task>>, settlement: &OutboxSettlement, some_wait: bool) {
    // Which of them wait of a row that is as it was, nobody has written down.
    if let Some(tasks) = kept.filter(|_| !some_wait) {
        let refused = |task: &Task| settlement.refused.iter().any(|(other, _)| other.id == task.id);
        let sent: Vec<_> = tasks.into_iter().filter(|task| !refused(task)).collect();
        log_dispatched(&sent);
    }
}
