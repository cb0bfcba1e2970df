//! Relays on an outbox of which a part fails.

mod failover;
mod rows;
mod stuck;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use events_core::outbox::{OutboxBatch, OutboxLease, OutboxRow, OutboxSettlement};
use events_core::transport::{TransportError, Unsent};
use events_core::{Task, Timestamp};

use super::outcome::tests::task;
use super::*;

/// A database that can be read and not be written: a lease is given out, and never renewed.
#[derive(Clone)]
struct ReadOnly;

impl Outbox for ReadOnly {
    fn outboxes(&self) -> Vec<Name> {
        vec![DEFAULT_OUTBOX.into()]
    }

    async fn acquire_outbox(
        &self,
        outbox: &str,
        relay: WorkerId,
        _lease: Duration,
    ) -> Result<Acquired, BrokerError> {
        let outbox = outbox.to_owned().into();
        Ok(Acquired::Held(OutboxLease { outbox, relay, token: 1 }))
    }

    async fn renew_outbox(&self, _: &OutboxLease, _: Duration) -> Result<bool, BrokerError> {
        Err(BrokerError::new("renew the lease of an outbox", "it is read only"))
    }

    async fn release_outbox(&self, _: &OutboxLease) -> Result<(), BrokerError> {
        Err(BrokerError::new("take back the lease of an outbox", "it is read only"))
    }

    async fn read_outbox(
        &self,
        _held: &OutboxLease,
        except: &[i64],
        _tasks: usize,
    ) -> Result<OutboxBatch, BrokerError> {
        let row = OutboxRow { id: 1, published_at: Timestamp::default(), tasks: vec![task()] };
        let rows = if except.contains(&1) { Vec::new() } else { vec![row] };
        Ok(OutboxBatch { rows, unreadable: Vec::new() })
    }

    async fn settle_outbox(
        &self,
        _held: &OutboxLease,
        _settlement: &OutboxSettlement,
        _lease: Duration,
    ) -> Result<bool, BrokerError> {
        Err(BrokerError::new("record what was sent", "it is read only"))
    }

    async fn move_waiting(
        &self,
        _held: &OutboxLease,
        _lease: Duration,
    ) -> Result<Option<u64>, BrokerError> {
        Err(BrokerError::new("move tasks into the outbox", "it is read only"))
    }

    async fn outbox_backlog(&self, _outbox: &str) -> Result<Backlog, BrokerError> {
        Ok(Backlog::new(1, Duration::ZERO))
    }

    async fn wake_relay(&self) {
        std::future::pending::<()>().await;
    }
}

/// A broker that is away, and counts how often it was asked.
#[derive(Clone, Default)]
struct Away(Arc<AtomicUsize>);

impl Transport for Away {
    async fn send(&self, tasks: Vec<Task>) -> Result<(), TransportError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        TransportError::check(Unsent::all_later(tasks, "the broker is away"))
    }
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_cannot_renew_its_lease_sends_nothing_more_and_stops_when_it_is_told() {
    let away = Away::default();
    let relay = Relay::new(ReadOnly, away.clone()).lease(LONGEST_LEASE);
    let mut sent_in_time = 0;
    let mut told = Instant::now();
    let stop = async {
        sleep(LONGEST_LEASE).await;
        sent_in_time = away.0.load(Ordering::SeqCst);
        sleep(LONGEST_LEASE + Duration::from_millis(500)).await;
        told = Instant::now();
    };
    relay.run_until(stop).await.unwrap();
    assert!(sent_in_time > 10, "it tried as long as the lease was its own");
    assert_eq!(away.0.load(Ordering::SeqCst), sent_in_time);
    let late = told.elapsed();
    assert!(late < Duration::from_secs(1), "it went on for {late:?}");
}
