//! The loop of the relay that holds the lease: reads, sends, records.

mod upkeep;

use std::time::Duration;

use events_core::Task;
use events_core::broker::BrokerError;
use events_core::context::Cancellation;
use events_core::outbox::{Outbox, OutboxBatch, OutboxRow, OutboxSettlement};
use events_core::transport::{Transport, TransportError, Unsent};
use tokio::time::{Instant, sleep};

use super::Relay;
use super::aside::Aside;
use super::holding::Holding;
use super::outcome::{Handed, Outcome, outcome};
use super::parcel::Parcel;
use super::sending::{self, Sent};
use super::suspects::{Suspects, Verdict};
use super::telling::{log_refused, log_sent};
use super::trouble::{self, Trouble};

/// Between two polls. The wake-up is only a hint.
const POLL: Duration = Duration::from_secs(1);

/// In leases: for how long nothing can be sent before the outbox is left to another relay.
const GIVES_UP_AFTER: u32 = 4;

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It was told to stop.
    Stopped,
    /// Another relay has the lease.
    Lost,
    /// It could send nothing for a while. Maybe another can.
    GivesUp,
}

/// What a relay remembers while another has the lease.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) transport: Trouble,
    suspects: Suspects,
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
    memory: &'r mut Memory,
    /// How long a batch may go on once the relay is to stop.
    last_words: Duration,
    /// What was read while the batch before was sent.
    ahead: Option<OutboxBatch>,
    /// Rows whose tasks were refused one by one.
    refused: Aside,
    /// Rows that were told to be unreadable.
    unreadable: Aside,
    database: Trouble,
    renewals: Trouble,
    /// When something was sent last, or nothing was there to be sent.
    progress: Instant,
    /// When the next look is due for tasks that are to be moved into the outbox.
    moves_at: Instant,
}

/// What was handed to a transport that came back.
struct Tried {
    rows: Vec<Handed>,
    tasks: usize,
    untried: Vec<Task>,
    /// The tasks, where somebody reads that they were sent.
    kept: Option<Vec<Task>>,
}

impl<'r, O: Outbox, T: Transport> Active<'r, O, T> {
    pub(super) fn new(
        relay: &'r Relay<O, T>,
        holding: &'r Holding,
        memory: &'r mut Memory,
        last_words: Duration,
    ) -> Self {
        memory.transport.eases();
        Self {
            relay,
            holding,
            memory,
            last_words,
            ahead: None,
            refused: Aside::default(),
            unreadable: Aside::default(),
            database: Trouble::default(),
            renewals: Trouble::default(),
            progress: Instant::now(),
            moves_at: Instant::now(),
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
                Next::Rest => self.rest(),
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

    /// Until the next poll, or until rows that were left out are to be read again.
    fn rest(&mut self) -> Duration {
        self.progress = Instant::now();
        let poll = POLL.mul_f64(0.75 + 0.5 * fastrand::f64());
        let next = self.refused.next().map(|next| next.duration_since(self.progress));
        next.map_or(poll, |next| next.min(poll))
    }

    /// The rows that are not to be read now.
    fn left_out(&self) -> Vec<i64> {
        self.refused.left_out().chain(self.unreadable.left_out()).collect()
    }

    /// Whatever was read is forgotten: maybe another server has taken over, to which these are the
    /// numbers of other rows.
    fn database_fails(&mut self, error: &BrokerError) -> Duration {
        self.ahead = None;
        self.refused.clear();
        self.unreadable.clear();
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
        if self.moves_at <= Instant::now() && !self.move_waiting().await {
            return Ok(Next::End(End::Lost));
        }
        let Relay { outbox, batch, .. } = self.relay;
        let batch = match self.ahead.take() {
            Some(batch) => batch,
            None => {
                let left_out = self.left_out();
                tokio::select! {
                    read = outbox.read_outbox(self.holding.lease(), &left_out, *batch) => read?,
                    () = self.holding.keep(outbox) => return Ok(Next::End(End::Lost)),
                }
            }
        };
        let passed_over = self.pass_over_unreadable(&batch);
        if batch.rows.is_empty() {
            // Behind what cannot be read there may be more.
            return Ok(if passed_over { Next::Go } else { Next::Rest });
        }
        if !self.holding.is_certain() {
            // It stood still, or could not renew the lease: whose it is, the database says.
            if !self.holding.renew(outbox).await? {
                return Ok(Next::End(End::Lost));
            }
            if self.holding.is_certain() {
                return Ok(Next::Go);
            }
            self.tell_slow_renewal();
            return Ok(Next::Wait(POLL));
        }
        self.renewals.is_over();
        self.send(batch.rows, stop).await
    }

    async fn send(
        &mut self,
        rows: Vec<OutboxRow>,
        stop: &Cancellation,
    ) -> Result<Next, BrokerError> {
        let Relay { outbox, transport, batch, name, .. } = self.relay;
        let Parcel { rows, tasks, untried } = Parcel::of(rows, self.memory.suspects.most());
        let kept = tracing::enabled!(tracing::Level::DEBUG).then(|| tasks.clone());
        let alone = (tasks.len() == 1).then(|| tasks[0].clone());
        let mut tried = Tried { rows, tasks: tasks.len(), untried, kept };
        let mut except = self.left_out();
        except.extend(tried.rows.iter().map(|(row, _)| row.id));
        // Nothing is sent before what comes first, and that is not all of what was read.
        let in_order = !self.memory.suspects.are_looked_for();
        let ahead = async {
            match in_order {
                // A failure shows again when it is read in its turn.
                true => outbox.read_outbox(self.holding.lease(), &except, *batch).await.ok(),
                false => None,
            }
        };
        let sending = sending::send(transport, tasks, name, self.holding.term());
        let sent_and_read = async { tokio::join!(sending, ahead) };
        let give_up = async {
            stop.cancelled().await;
            sleep(self.last_words).await;
        };
        let (sent, ahead) = tokio::select! {
            sent_and_read = sent_and_read => sent_and_read,
            () = self.holding.keep(outbox) => return Ok(Next::End(End::Lost)),
            () = give_up => {
                tracing::warn!(
                    outbox = name,
                    "a batch was still under way when the relay had to stop; its tasks are sent again"
                );
                return Ok(Next::End(End::Stopped));
            }
        };
        let unsent = match sent {
            Sent::Answered(answer) => {
                self.ahead = ahead;
                self.memory.suspects.pass(tried.tasks);
                answer.map_or_else(TransportError::into_unsent, |()| Vec::new())
            }
            Sent::CutOff => {
                self.memory.suspects.are(tried.tasks);
                return Ok(self.transport_fails("the transport did not come back", POLL).await);
            }
            Sent::Panicked(message) => {
                let reason = format!("the transport panicked: {message}");
                let Some(task) = self.guilty(alone, &tried) else {
                    return Ok(self.transport_fails(&reason, POLL).await);
                };
                tried.kept = None; // it was not sent
                vec![Unsent::never(task, reason)]
            }
        };
        self.record(tried, unsent, stop).await
    }

    /// Looks for the task on which the transport panics. It is this one if that was alone often enough.
    fn guilty(&mut self, alone: Option<Task>, tried: &Tried) -> Option<Task> {
        let suspects = &mut self.memory.suspects;
        let Some(task) = alone else {
            suspects.are(tried.tasks);
            return None;
        };
        match suspects.is(task.id) {
            Verdict::Guilty => return Some(task),
            Verdict::Again => {}
            Verdict::Aside => {
                self.refused.put(tried.rows[0].0.id);
            }
        }
        None
    }

    /// Deletes what was sent, buries what never can be, and leaves the rest.
    async fn record(
        &mut self,
        tried: Tried,
        unsent: Vec<Unsent>,
        stop: &Cancellation,
    ) -> Result<Next, BrokerError> {
        let Tried { rows, untried, kept, .. } = tried;
        let Outcome { settlement, sent, waits, is_away, put_off } = outcome(&rows, unsent, untried);
        if !self.settle(&settlement, stop).await? {
            return Ok(Next::End(End::Lost));
        }
        log_sent(kept, &settlement, waits.is_some());
        log_refused(&self.relay.name, &settlement);
        settlement.done.iter().for_each(|row| self.refused.forget(row.id));
        if sent > 0 || !settlement.refused.is_empty() {
            self.progress = Instant::now();
            self.memory.transport.eases();
        }
        let Some(reason) = waits else {
            self.tell_recovered();
            return Ok(Next::Go);
        };
        let mut room = true;
        for row in put_off {
            room &= self.refused.put(row);
        }
        if room && !is_away {
            self.tell_waiting(&reason).await;
            return Ok(Next::Go); // what is behind them waits for nothing
        }
        Ok(self.transport_fails(&reason, trouble::LONGEST).await)
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
                Err(error) => sleep(self.database_fails(&error).min(POLL)).await,
            }
        }
    }

    /// The next try comes later, and with what was not sent; or another relay's, if this one has
    /// tried for long.
    async fn transport_fails(&mut self, reason: &str, longest: Duration) -> Next {
        self.ahead = None;
        self.tell_waiting(reason).await;
        if self.progress.elapsed() >= self.holding.term() * GIVES_UP_AFTER {
            return Next::End(End::GivesUp);
        }
        Next::Wait(self.memory.transport.pause().min(longest))
    }

    async fn tell_waiting(&mut self, reason: &str) {
        let Relay { outbox, name, .. } = self.relay;
        self.memory.transport.begins();
        if self.memory.transport.is_to_be_told() {
            let backlog = outbox.outbox_backlog(name).await.unwrap_or_default();
            tracing::warn!(
                error = reason,
                outbox = name,
                tasks = backlog.tasks,
                oldest = ?backlog.oldest,
                "tasks of an outbox cannot be sent and wait; trying again until the broker takes them"
            );
        }
    }

    /// All is well, if no row is left out that was refused.
    fn tell_recovered(&mut self) {
        if !self.refused.is_empty() {
            return;
        }
        if let Some(after) = self.memory.transport.is_over() {
            tracing::info!(outbox = self.relay.name, ?after, "tasks of an outbox are sent again");
        }
    }
}
