//! Workers that run relays beside their tasks.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use events_core::broker::BrokerError;
use events_core::outbox::{
    Acquired, Backlog, DEFAULT_OUTBOX, Outbox, OutboxBatch, OutboxLease, OutboxSettlement,
};
use events_core::prelude::*;
use events_core::task::Name;
use events_core::{Forwarding, Task, Transport, WorkerId};
use events_runtime::{MemoryQueue, Relay, RelayError, Worker, WorkerError};
use events_testing::ManualClock;

use super::database::{Database, on_each_database};
use super::transport::Recorder;
use super::{elsewhere, events, publish, soon};

on_each_database! {
    any_worker_can_relay,
    a_worker_relays_the_outbox_of_another_queue,
    a_worker_relays_several_outboxes,
    a_relay_of_an_outbox_that_nothing_is_forwarded_to_is_refused_by_name,
}

async fn publish_numbers<D: Database>(queue: &D::Queue, numbers: u32) {
    for number in 0..numbers {
        let mut session = D::begin(queue).await;
        publish(&mut session, 1, number);
        session.commit().await.unwrap();
    }
}

async fn any_worker_can_relay<D: Database>(database: D) {
    let events = events(&ManualClock::new());
    let queue = database.open(&events, vec![Forwarding::outbox(elsewhere())]).await;
    publish_numbers::<D>(&queue, 5).await;
    let transport = Recorder::new();
    let relay = Relay::new(queue.clone(), transport.clone()).batch(2);
    let worker = Worker::builder(&events, queue.clone()).relay(relay).build().unwrap();
    soon(worker.run_until_drained()).await.unwrap();
    assert_eq!(transport.sent().len(), 5);
    assert_eq!((D::count(&queue, D::OUTBOX).await, D::count(&queue, D::TASKS).await), (0, 0));
    let lease = Duration::from_secs(15);
    let free = queue.acquire_outbox("default", WorkerId::generate(), lease).await.unwrap();
    assert!(matches!(free, Acquired::Held(_)), "the lease was given back");
}

/// As where a program publishes in its database, and its worker serves the broker.
async fn a_worker_relays_the_outbox_of_another_queue<D: Database>(database: D) {
    let events = events(&ManualClock::new());
    let queue = database.open(&events, vec![Forwarding::outbox(Queues::all())]).await;
    publish_numbers::<D>(&queue, 5).await;
    let broker = MemoryQueue::new(&events);
    let relay = Relay::new(queue.clone(), broker.clone());
    let worker = Worker::builder(&events, broker).relay(relay).build().unwrap();
    let statistics = worker.statistics();
    soon(worker.run_until_drained()).await.unwrap();
    assert_eq!((statistics.completed(), D::count(&queue, D::OUTBOX).await), (10, 0));
}

async fn a_worker_relays_several_outboxes<D: Database>(database: D) {
    let events = events(&ManualClock::new());
    let forwardings = vec![
        Forwarding::outbox(elsewhere()),
        Forwarding::named_outbox("other", Queues::only(["here"])),
    ];
    let queue = database.open(&events, forwardings).await;
    publish_numbers::<D>(&queue, 5).await;
    let (first, other) = (Recorder::new(), Recorder::new());
    let worker = Worker::builder(&events, queue.clone())
        .relay(Relay::new(queue.clone(), first.clone()))
        .relay(Relay::new(queue.clone(), other.clone()).named("other"));
    soon(worker.build().unwrap().run_until_drained()).await.unwrap();
    assert!(first.sent().iter().all(|task| task.queue == "elsewhere"));
    assert!(other.sent().iter().all(|task| task.queue == "here"));
    assert_eq!((first.sent().len(), other.sent().len()), (5, 5));
}

async fn a_relay_of_an_outbox_that_nothing_is_forwarded_to_is_refused_by_name<D: Database>(
    database: D,
) {
    let events = events(&ManualClock::new());
    let named = |name: &str| Forwarding::named_outbox(name, Queues::none());
    let queue = database.open(&events, vec![named("reports"), named("mail")]).await;
    let relay = || Relay::new(queue.clone(), Recorder::new()).named("report");
    let refused = soon(relay().run_until(std::future::pending::<()>())).await.unwrap_err();
    let RelayError::UnknownOutbox { known, .. } = &refused else { panic!("{refused}") };
    assert_eq!(known, &["mail", "reports"]);
    for part in ["no outbox `report`", "only `mail`, `reports`"] {
        assert!(refused.to_string().contains(part), "{refused}");
    }
    let worker = Worker::builder(&events, queue.clone()).relay(relay()).build().unwrap_err();
    assert!(matches!(worker, WorkerError::Relay(error) if error == refused));
    let without = database.open(&events, Vec::new()).await;
    let relay = Relay::new(without, Recorder::new());
    let refused = soon(relay.run_until(std::future::pending::<()>())).await.unwrap_err();
    assert!(refused.to_string().contains("forwards nothing"), "{refused}");
}

/// An outbox whose last task another relay sends to `queue`, and deletes, at the moment somebody
/// asks what is left in it.
#[derive(Clone)]
struct Emptied {
    queue: MemoryQueue,
    last: Arc<Mutex<Vec<Task>>>,
}

impl Outbox for Emptied {
    fn outboxes(&self) -> Vec<Name> {
        vec![DEFAULT_OUTBOX.into()]
    }

    async fn acquire_outbox(
        &self,
        _outbox: &str,
        _relay: WorkerId,
        lease: Duration,
    ) -> Result<Acquired, BrokerError> {
        Ok(Acquired::ByAnother { remaining: lease })
    }

    async fn renew_outbox(&self, _: &OutboxLease, _: Duration) -> Result<bool, BrokerError> {
        Ok(false)
    }

    async fn release_outbox(&self, _: &OutboxLease) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn read_outbox(
        &self,
        _held: &OutboxLease,
        _except: &[i64],
        _tasks: usize,
    ) -> Result<OutboxBatch, BrokerError> {
        Ok(OutboxBatch::default())
    }

    async fn settle_outbox(
        &self,
        _held: &OutboxLease,
        _settlement: &OutboxSettlement,
        _lease: Duration,
    ) -> Result<bool, BrokerError> {
        Ok(false)
    }

    async fn move_waiting(&self, _: &OutboxLease, _: Duration) -> Result<Option<u64>, BrokerError> {
        Ok(None)
    }

    async fn outbox_backlog(&self, _outbox: &str) -> Result<Backlog, BrokerError> {
        let last = std::mem::take(&mut *self.last.lock().unwrap());
        self.queue.send(last).await.unwrap();
        Ok(Backlog::default())
    }

    async fn wake_relay(&self) {
        std::future::pending::<()>().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_is_not_drained_while_what_was_relayed_comes_back_to_its_queue() {
    let events = events(&ManualClock::new());
    let queue = MemoryQueue::new(&events);
    let mut session = queue.begin();
    publish(&mut session, 1, 1);
    let last = events.dispatch(session.pending_events_mut());
    assert_eq!(last.len(), 2);
    let outbox = Emptied { queue: queue.clone(), last: Arc::new(Mutex::new(last)) };
    let relay = Relay::new(outbox, Recorder::new());
    let worker = Worker::builder(&events, queue).relay(relay).build().unwrap();
    let statistics = worker.statistics();
    soon(worker.run_until_drained()).await.unwrap();
    assert_eq!(statistics.completed(), 2);
}
