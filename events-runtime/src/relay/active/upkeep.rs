//! What an active relay does beside sending.

use events_core::outbox::{Outbox, OutboxBatch};
use events_core::transport::Transport;
use tokio::time::Instant;

use super::Active;
use crate::relay::Relay;

/// In leases: between two looks for tasks that wait in the queue though they are forwarded by now.
const MOVES_EVERY: u32 = 4;

/// In leases: when a row that could not be read is looked at again.
const UNREADABLE_FOR: u32 = 40;

impl<O: Outbox, T: Transport> Active<'_, O, T> {
    /// Takes in what waits for workers that do not serve it any more. Whether the lease is held.
    pub(super) async fn move_waiting(&mut self) -> bool {
        let Relay { outbox, name, .. } = self.relay;
        let (lease, term) = (self.holding.lease(), self.holding.term());
        self.moves_at = Instant::now() + term * MOVES_EVERY;
        match outbox.move_waiting(lease, term).await {
            Ok(None) => return false,
            Ok(Some(0)) => {}
            Ok(Some(moved)) => {
                self.moves_at = Instant::now(); // there may be more
                tracing::info!(
                    outbox = name,
                    tasks = moved,
                    "tasks that waited for a worker were moved into the outbox that their queues are forwarded to by now"
                );
            }
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                outbox = name,
                "tasks of forwarded queues that wait for a worker could not be looked for; trying again later"
            ),
        }
        true
    }

    /// Whether some are new.
    pub(super) fn pass_over_unreadable(&mut self, batch: &OutboxBatch) -> bool {
        let mut some = false;
        for (row, error) in &batch.unreadable {
            if !self.unreadable.put_for(*row, self.holding.term() * UNREADABLE_FOR) {
                continue; // those that were told before are enough
            }
            some = true;
            tracing::error!(
                error = &**error as &dyn std::error::Error,
                outbox = self.relay.name,
                row,
                "a row of an outbox cannot be read and is passed over; repair or delete it, or run the release that has written it"
            );
        }
        some
    }

    pub(super) fn tell_slow_renewal(&mut self) {
        if self.renewals.is_to_be_told() {
            tracing::warn!(
                outbox = self.relay.name,
                lease = ?self.holding.term(),
                "the lease of an outbox is over before its renewal is written, and nothing is sent; look why the database is slow, or give the relay a longer lease"
            );
        }
    }
}
