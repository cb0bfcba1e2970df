//! What became of a batch, as an active relay records it.

use std::time::Duration;

use events_core::broker::BrokerError;
use events_core::context::Cancellation;
use events_core::outbox::{Outbox, OutboxSettlement};
use events_core::transport::{Transport, TransportError, Unsent};
use events_core::{Task, TaskId};
use tokio::time::{Instant, sleep};

use super::{Active, End, Memory, Next, POLL};
use crate::relay::Relay;
use crate::relay::outcome::{Handed, Outcome, outcome};
use crate::relay::sending::Sent;
use crate::relay::suspects::Verdict;
use crate::relay::telling::{log_hanging, log_refused, log_sent};
use crate::relay::trouble;

/// In leases: for how long the row of a task is put aside on which the transport hangs. Twice as long
/// each time, up to sixteen times as long.
const HUNG_FOR: u32 = 40;
const DOUBLED: u32 = 4;

/// The same of one on which it panics, when it comes back.
const PANICKED_FOR: u32 = 4;
const MOST_DOUBLED: u32 = 6;

/// What was handed to a transport.
pub(super) struct Tried {
    pub(super) rows: Vec<Handed>,
    pub(super) tasks: usize,
    pub(super) untried: Vec<Task>,
    /// The task, if it was one.
    pub(super) alone: Option<Task>,
    /// The tasks, where somebody reads that they were sent.
    pub(super) kept: Option<Vec<Task>>,
}

/// What was not sent.
pub(super) struct NotSent {
    unsent: Vec<Unsent>,
    /// If it was one task that was sent alone, and the transport did not answer.
    stuck: Option<Stuck>,
}

struct Stuck {
    task: TaskId,
    /// For how long its row is put aside. `None` is as long as that of a task that is refused.
    pause: Option<Duration>,
    /// How often it was stuck before.
    before: u32,
}

impl<O: Outbox, T: Transport> Active<'_, O, T> {
    /// What was not sent; or why nobody can tell, and all is tried again.
    pub(super) fn not_sent(&mut self, sent: Sent, tried: &mut Tried) -> Result<NotSent, String> {
        let Memory { suspects, apart, refused, .. } = &mut *self.memory;
        let reason = match sent {
            Sent::Answered(answer) => {
                let unsent = answer.map_or_else(TransportError::into_unsent, |()| Vec::new());
                let is_away =
                    unsent.len() == tried.tasks && unsent.iter().all(Unsent::is_unavailable);
                if !is_away {
                    suspects.pass(tried.tasks);
                    if tried.alone.as_ref().is_some_and(|task| apart.comes_back(task.id)) {
                        refused.wake(); // maybe it was the broker's fault
                    }
                } // else it tells nothing of any task
                return Ok(NotSent { unsent, stuck: None });
            }
            Sent::CutOff => "the transport did not come back".to_owned(),
            Sent::Panicked(ref message) => format!("the transport panicked: {message}"),
        };
        tried.kept = None; // as far as anybody knows
        let Some(task) = tried.alone.take() else {
            suspects.are(tried.tasks);
            return Err(reason);
        };
        match sent {
            Sent::Panicked(_) => self.panics_on(task, reason),
            _ => Ok(self.hangs_on(task, reason)),
        }
    }

    /// Never is such a task buried, for maybe the broker hangs.
    fn hangs_on(&mut self, task: Task, reason: String) -> NotSent {
        self.memory.suspects.are(0);
        let before = self.memory.apart.times(task.id);
        let pause = self.holding.term() * (HUNG_FOR << before.min(DOUBLED));
        log_hanging(&self.relay.name, &task, pause);
        let stuck = Some(Stuck { task: task.id, pause: Some(pause), before });
        NotSent { unsent: vec![Unsent::later(task, reason)], stuck }
    }

    fn panics_on(&mut self, task: Task, reason: String) -> Result<NotSent, String> {
        match self.memory.suspects.is(task.id) {
            Verdict::Again => Err(reason),
            Verdict::Aside => {
                let before = self.memory.apart.times(task.id);
                // Many such rows that came back soon would never let anybody see what is behind them.
                let again =
                    before.checked_sub(1).map(|times| PANICKED_FOR << times.min(MOST_DOUBLED));
                let pause = again.map(|leases| self.holding.term() * leases);
                let stuck = Stuck { task: task.id, pause, before };
                let unsent = vec![Unsent::later(task, reason)];
                Ok(NotSent { unsent, stuck: Some(stuck) })
            }
            Verdict::Guilty => {
                Ok(NotSent { unsent: vec![Unsent::never(task, reason)], stuck: None })
            }
        }
    }

    /// Deletes what was sent, buries what never can be, and leaves the rest.
    pub(super) async fn record(
        &mut self,
        tried: Tried,
        not_sent: NotSent,
        stop: &Cancellation,
    ) -> Result<Next, BrokerError> {
        let Tried { rows, untried, kept, .. } = tried;
        let NotSent { unsent, stuck } = not_sent;
        let Outcome { settlement, sent, waits, is_away, mut put_off } =
            outcome(&rows, unsent, untried);
        if !self.settle(&settlement, stop).await? {
            return Ok(Next::End(End::Lost));
        }
        log_sent(kept, &settlement, waits.is_some());
        log_refused(&self.relay.name, &settlement);
        settlement.done.iter().for_each(|row| self.memory.refused.forget(row.id));
        if sent > 0 || !settlement.refused.is_empty() {
            self.fruitless = None;
            self.memory.transport.eases();
        }
        let Some(reason) = waits else {
            self.tell_recovered();
            return Ok(Next::Go);
        };
        if let Some(stuck) = &stuck {
            self.fruitless.get_or_insert_with(Instant::now);
            self.memory.apart.put(stuck.task);
            if stuck.before > 0 {
                put_off = vec![rows[0].0]; // all that is left of its row was tried
            }
        }
        let mut room = true;
        for row in put_off {
            let refused = &mut self.memory.refused;
            room &= match &stuck {
                Some(Stuck { pause: Some(pause), .. }) => {
                    refused.put_for(row.id, row.published_at, *pause)
                }
                _ => refused.put(row.id, row.published_at),
            };
        }
        if !room || is_away {
            return Ok(self.transport_fails(&reason, trouble::LONGEST).await);
        }
        self.tell_waiting(&reason).await;
        // What is behind them waits for nothing.
        Ok(if self.gives_up() { Next::End(End::GivesUp) } else { Next::Go })
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
}
