//! A renewal of the lease whose connection the network has swallowed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use events_core::outbox::{Acquired, Backlog, Outbox, OutboxBatch, OutboxLease, OutboxSettlement};
use events_core::prelude::*;
use events_core::task::Name;
use events_core::{BrokerError, Forwarding, Registry, WorkerId};
use events_runtime::Relay;

use super::database::{Database, on_each_database};
use super::transport::Recorder;
use super::{Running, count_elsewhere, count_here, elsewhere, publish};

on_each_database! { a_renewal_without_answer_is_tried_again_before_the_lease_is_over }

/// An outbox whose first renewal never comes back.
#[derive(Clone)]
struct Swallowing<Q> {
    queue: Q,
    swallows: Arc<AtomicBool>,
}

impl<Q: Outbox> Outbox for Swallowing<Q> {
    fn outboxes(&self) -> Vec<Name> {
        self.queue.outboxes()
    }

    async fn acquire_outbox(
        &self,
        outbox: &str,
        relay: WorkerId,
        lease: Duration,
    ) -> Result<Acquired, BrokerError> {
        self.queue.acquire_outbox(outbox, relay, lease).await
    }

    async fn renew_outbox(&self, held: &OutboxLease, lease: Duration) -> Result<bool, BrokerError> {
        if self.swallows.swap(false, Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.queue.renew_outbox(held, lease).await
    }

    async fn release_outbox(&self, held: &OutboxLease) -> Result<(), BrokerError> {
        self.queue.release_outbox(held).await
    }

    async fn read_outbox(
        &self,
        held: &OutboxLease,
        except: &[i64],
        tasks: usize,
    ) -> Result<OutboxBatch, BrokerError> {
        self.queue.read_outbox(held, except, tasks).await
    }

    async fn settle_outbox(
        &self,
        held: &OutboxLease,
        settlement: &OutboxSettlement,
        lease: Duration,
    ) -> Result<bool, BrokerError> {
        self.queue.settle_outbox(held, settlement, lease).await
    }

    async fn move_waiting(
        &self,
        held: &OutboxLease,
        lease: Duration,
    ) -> Result<Option<u64>, BrokerError> {
        self.queue.move_waiting(held, lease).await
    }

    async fn outbox_backlog(&self, outbox: &str) -> Result<Backlog, BrokerError> {
        self.queue.outbox_backlog(outbox).await
    }

    async fn wake_relay(&self) {
        self.queue.wake_relay().await;
    }
}

async fn a_renewal_without_answer_is_tried_again_before_the_lease_is_over<D: Database>(
    database: D,
) {
    const LEASE: Duration = Duration::from_secs(3);
    let registry = Registry::builder().subscriber::<count_elsewhere>().subscriber::<count_here>();
    let events = Events::builder().registry(registry.build().unwrap()).build().unwrap();
    let open = async || database.open(&events, vec![Forwarding::outbox(elsewhere())]).await;
    let queue = open().await;
    let publish_one = async |number| {
        let mut session = D::begin(&queue).await;
        publish(&mut session, 1, number);
        session.commit().await.unwrap();
    };
    let (one, two) = (Recorder::new(), Recorder::new());
    let swallowing = Swallowing { queue: queue.clone(), swallows: Arc::new(AtomicBool::new(true)) };
    one.hold();
    let _first = Running::of(Relay::new(swallowing.clone(), one.clone()).lease(LEASE));
    publish_one(1).await;
    one.has_sent(1).await; // and does not come back
    let _second = Running::of(Relay::new(open().await, two.clone()).lease(LEASE));
    tokio::time::sleep(LEASE + LEASE / 2).await;
    assert!(!swallowing.swallows.load(Ordering::SeqCst), "it was renewed");
    one.release();
    publish_one(2).await;
    one.has_sent(2).await;
    assert!(two.sent().is_empty(), "nobody had to take over");
}
