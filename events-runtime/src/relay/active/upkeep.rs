//! What an active relay does beside sending.

use events_core::outbox::Outbox;
use events_core::transport::Transport;
use tokio::time::Instant;

use super::Active;
use crate::relay::Relay;

/// In leases: between two looks for tasks that wait in the queue though they are forwarded by now.
const MOVES_EVERY: u32 = 4;

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
            Err(error) => {
                self.holding.doubt();
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    outbox = name,
                    "tasks of forwarded queues that wait for a worker could not be looked for; trying again later"
                );
            }
        }
        true
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

    pub(super) async fn tell_waiting(&mut self, reason: &str) {
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
    pub(super) fn tell_recovered(&mut self) {
        if !self.memory.refused.is_empty() {
            return;
        }
        if let Some(after) = self.memory.transport.is_over() {
            tracing::info!(outbox = self.relay.name, ?after, "tasks of an outbox are sent again");
        }
    }
}
