//! What an active relay reads, and what it leaves out.

use events_core::broker::BrokerError;
use events_core::outbox::{Outbox, OutboxBatch};
use events_core::transport::Transport;
use tokio::time::Instant;

use super::{Active, BELIEVED_FOR, Memory};
use crate::relay::Relay;

/// In leases: when a row that could not be read is looked at again.
const UNREADABLE_FOR: u32 = 40;

impl<O: Outbox, T: Transport> Active<'_, O, T> {
    /// The next rows, from the beginning. `None` if the lease is lost.
    pub(super) async fn read(&mut self) -> Result<Option<OutboxBatch>, BrokerError> {
        if self.holding.is_doubtful() {
            self.ahead = None;
            self.memory.refused.doubt();
            self.memory.unreadable.doubt();
        }
        if let Some((since, batch)) = self.ahead.take()
            && since.elapsed() <= BELIEVED_FOR
        {
            return Ok(Some(batch));
        }
        let Relay { outbox, batch, .. } = self.relay;
        let pauses_at = self.pauses_at();
        let left_out = self.left_out();
        let batch = tokio::select! {
            read = outbox.read_outbox(self.holding.lease(), &left_out, *batch) => read?,
            () = self.holding.keep(outbox) => return Ok(None),
        };
        if batch.rows.is_empty() && batch.unreadable.is_empty() {
            // Nothing is there but what was left out.
            let Memory { refused, unreadable, suspects, .. } = &mut *self.memory;
            refused.forget_others(pauses_at);
            unreadable.forget_others(pauses_at);
            suspects.are(0);
        }
        Ok(Some(batch))
    }

    /// The rows that are not to be read now.
    pub(super) fn left_out(&self) -> Vec<i64> {
        let at = self.pauses_at();
        let Memory { refused, unreadable, .. } = &*self.memory;
        refused.left_out(at).chain(unreadable.left_out(at)).collect()
    }

    /// By what time it is told whether a row's pause is over. While a task is looked for on which the
    /// transport panics, that stands still: rows that came back would be taken for the suspects, and
    /// the search never end.
    fn pauses_at(&self) -> Instant {
        self.memory.suspects.since().unwrap_or_else(Instant::now)
    }

    /// Takes out what was only read to see whether it is still there, and passes over what cannot be
    /// read. Whether the next read has others.
    pub(super) fn sort_out(&mut self, batch: &mut OutboxBatch) -> bool {
        let pauses_at = self.pauses_at();
        let Memory { refused, unreadable, .. } = &mut *self.memory;
        let read = batch.rows.len();
        batch.rows.retain(|row| {
            unreadable.forget(row.id);
            !refused.sees(row.id, &row.published_at, pauses_at)
        });
        let mut others = batch.rows.len() < read;
        for (row, error) in &batch.unreadable {
            if unreadable.sees(*row, &(), pauses_at) {
                others = true;
                continue;
            }
            if !unreadable.put_for(*row, (), self.holding.term() * UNREADABLE_FOR) {
                continue; // those that were told before are enough
            }
            others = true;
            tracing::error!(
                error = &**error as &dyn std::error::Error,
                outbox = self.relay.name,
                row,
                "a row of an outbox cannot be read and is passed over; repair or delete it, or run the release that has written it"
            );
        }
        others
    }
}
