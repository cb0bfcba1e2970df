//! The loop of the relay that holds the lease: reads, sends, records.

mod reading;
mod recording;
mod upkeep;

use std::time::Duration;

use events_core::Timestamp;
use events_core::broker::BrokerError;
use events_core::context::Cancellation;
use events_core::outbox::{Outbox, OutboxBatch, OutboxRow};
use events_core::transport::Transport;
use tokio::time::{Instant, sleep};

use super::Relay;
use super::apart::Apart;
use super::aside::Aside;
use super::holding::Holding;
use super::parcel::Parcel;
use super::sending;
use super::suspects::Suspects;
use super::trouble::Trouble;
use recording::Tried;

/// Between two polls. The wake-up is only a hint.
const POLL: Duration = Duration::from_secs(1);

/// In leases: for how long nothing can be sent before the outbox is left to another relay.
const GIVES_UP_AFTER: u32 = 4;

/// For how long what was read is believed. After that another server may have taken over, and nobody
/// has noticed.
const BELIEVED_FOR: Duration = Duration::from_secs(1);

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
    apart: Apart,
    /// Rows whose tasks were refused one by one, or hung. By the time they were published.
    refused: Aside<Timestamp>,
    /// Rows that were told to be unreadable.
    unreadable: Aside<()>,
}

/// What is next.
enum Next {
    Go,
    /// Nothing waits. The next poll comes later, unless somebody commits before.
    Rest(Duration),
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
    /// What was read while the batch before was sent, and since when.
    ahead: Option<(Instant, OutboxBatch)>,
    database: Trouble,
    renewals: Trouble,
    /// Since when nothing is sent though something is there, as far as that may be this relay's fault:
    /// what was refused before, and is once more, tells nothing new.
    fruitless: Option<Instant>,
    /// When the next look is due for tasks that are to be moved into the outbox.
    moves_at: Instant,
}

impl<'r, O: Outbox, T: Transport> Active<'r, O, T> {
    pub(super) fn new(
        relay: &'r Relay<O, T>,
        holding: &'r Holding,
        memory: &'r mut Memory,
        last_words: Duration,
    ) -> Self {
        memory.transport.eases();
        let fruitless = memory.refused.is_empty().then(Instant::now);
        Self {
            relay,
            holding,
            memory,
            last_words,
            ahead: None,
            database: Trouble::default(),
            renewals: Trouble::default(),
            fruitless,
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
            let (pause, rests) = match next {
                Next::Go => continue,
                Next::End(end) => return end,
                Next::Rest(pause) => (pause, true),
                Next::Wait(pause) => (pause, false),
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.relay.outbox.wake_relay(), if rests => {}
                () = self.holding.keep(&self.relay.outbox) => return End::Lost,
                () = stop.cancelled() => {}
            }
        }
    }

    /// Until the next poll, or until rows that were left out are to be read again.
    fn rest(&mut self) -> Next {
        if self.memory.refused.is_empty() {
            self.fruitless = None;
            self.memory.apart.clear();
        } else if self.gives_up() {
            return Next::End(End::GivesUp);
        }
        let poll = POLL.mul_f64(0.75 + 0.5 * fastrand::f64());
        let next = self.memory.refused.next().map(|next| next.duration_since(Instant::now()));
        Next::Rest(next.map_or(poll, |next| next.min(poll)))
    }

    /// Whether nothing could be sent for long.
    fn gives_up(&self) -> bool {
        let longest = self.holding.term() * GIVES_UP_AFTER;
        self.fruitless.is_some_and(|since| since.elapsed() >= longest)
    }

    /// Maybe another server takes over.
    fn database_fails(&mut self, error: &BrokerError) -> Duration {
        self.holding.doubt();
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
        let Relay { outbox, .. } = self.relay;
        let Some(mut batch) = self.read().await? else { return Ok(Next::End(End::Lost)) };
        let others_follow = self.sort_out(&mut batch);
        if batch.rows.is_empty() {
            return Ok(if others_follow { Next::Go } else { self.rest() });
        }
        if !self.holding.is_certain() {
            // It stood still, or could not renew the lease: whose it is, the database says.
            self.holding.doubt();
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
        let began = Instant::now();
        let (read, Memory { refused, suspects, apart, .. }) = (rows.len(), &*self.memory);
        if rows.iter().any(|row| !refused.knows(row.id)) {
            self.fruitless.get_or_insert(began);
        }
        let Parcel { rows, tasks, untried } = Parcel::of(rows, suspects.most(), apart);
        let kept = tracing::enabled!(tracing::Level::DEBUG).then(|| tasks.clone());
        let alone = (tasks.len() == 1).then(|| tasks[0].clone());
        let mut tried = Tried { rows, tasks: tasks.len(), untried, alone, kept };
        let mut except = self.left_out();
        except.extend(tried.rows.iter().map(|(row, _)| row.id));
        // Nothing is sent before what comes first, and that is not all of what was read.
        let in_order = tried.rows.len() == read && tried.untried.is_empty();
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
        self.ahead = ahead.map(|batch| (began, batch));
        let next = match self.not_sent(sent, &mut tried) {
            Ok(not_sent) => self.record(tried, not_sent, stop).await?,
            Err(reason) => self.transport_fails(&reason, POLL).await,
        };
        if began.elapsed() > BELIEVED_FOR {
            self.holding.doubt();
        }
        Ok(next)
    }

    /// The next try comes later, and with what was not sent; or another relay's, if this one has
    /// tried for long.
    async fn transport_fails(&mut self, reason: &str, longest: Duration) -> Next {
        self.holding.doubt(); // nobody looks at the database until then
        self.fruitless.get_or_insert_with(Instant::now);
        self.tell_waiting(reason).await;
        if self.gives_up() {
            return Next::End(End::GivesUp);
        }
        Next::Wait(self.memory.transport.pause().min(longest))
    }
}
