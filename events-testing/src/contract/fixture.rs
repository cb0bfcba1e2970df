//! Events, subscribers and helpers of the contract suite.
//!
//! The subscribers are built by hand and not linked: a program that runs the suite must not find
//! them in its own registry.

use std::any::TypeId;
use std::time::Duration;

use events_core::broker::{Broker, Lease, Queues, Settlement, WorkerInfo};
use events_core::event::{Event, EventId, EventType, WorkerId};
use events_core::lifecycle::Next;
use events_core::registry::Registry;
use events_core::session::Session;
use events_core::settings::EventSettings;
use events_core::subscriber::{Debounce, Handler, Subscriber};
use events_core::{Events, unchecked};

use super::Harness;
use crate::ManualClock;

pub(super) const LEASE: Duration = Duration::from_secs(15);

/// One subscriber, on the queue `events`.
#[derive(events_core::Event)]
#[event(name = "contract.Single")]
pub(super) struct Single {
    pub(super) number: u32,
}

/// Two subscribers: on the queues `events` and `other`.
#[derive(events_core::Event)]
#[event(name = "contract.Double")]
pub(super) struct Double {
    pub(super) text: String,
}

/// One subscriber, of the smaller priority -1.
#[derive(events_core::Event)]
#[event(name = "contract.Urgent")]
pub(super) struct Urgent {
    pub(super) number: u32,
}

/// One subscriber, debounced by the key: ten seconds of quiet, a minute at the most.
#[derive(events_core::Event)]
#[event(name = "contract.Debounced")]
pub(super) struct Keyed {
    pub(super) key: String,
    pub(super) number: u32,
}

pub(super) const QUIET: Duration = Duration::from_secs(10);
pub(super) const LONGEST: Duration = Duration::from_mins(1);

/// One subscriber, five minutes later.
#[derive(events_core::Event)]
#[event(name = "contract.Delayed")]
pub(super) struct Delayed {
    pub(super) number: u32,
}

pub(super) const DELAY: Duration = Duration::from_mins(5);

/// Nobody listens.
#[derive(events_core::Event)]
#[event(name = "contract.Unheard")]
pub(super) struct Unheard {}

const fn subscriber<E: Event + 'static>(task: &'static str) -> Subscriber {
    Subscriber {
        task,
        aliases: &[],
        event: EventType {
            name: E::NAME,
            fields: E::FIELDS,
            id: TypeId::of::<E>(),
            rust_path: std::any::type_name::<E>,
        },
        function: "events_testing::contract",
        file: file!(),
        line: line!(),
        queue: None,
        max_retries: None,
        retry_backoff: None,
        timeout: None,
        priority: 0,
        delay: None,
        debounce: None,
        reconciled_by: None,
        freshness_only: true,
        needs: &[],
        handler: Handler::Blocking(|_| Ok(Ok(()))),
    }
}

static SINGLE: Subscriber = subscriber::<Single>("contract.single");
static DOUBLE_A: Subscriber = subscriber::<Double>("contract.double.a");
static DOUBLE_B: Subscriber =
    Subscriber { queue: Some("other"), ..subscriber::<Double>("contract.double.b") };
static URGENT: Subscriber = Subscriber { priority: -1, ..subscriber::<Urgent>("contract.urgent") };

static KEYED: Subscriber = Subscriber {
    debounce: Some(Debounce { window: QUIET, longest: LONGEST, by: "key" }),
    ..subscriber::<Keyed>("contract.keyed")
};
static DELAYED: Subscriber =
    Subscriber { delay: Some(DELAY), ..subscriber::<Delayed>("contract.delayed") };

/// A broker under test, with its clock.
pub(super) struct World<H: Harness> {
    pub(super) harness: H,
    pub(super) clock: ManualClock,
    pub(super) events: Events,
}

impl<H: Harness> World<H> {
    pub(super) async fn start() -> Self {
        let registry = Registry::builder()
            .subscriber_ref(&SINGLE)
            .subscriber_ref(&DOUBLE_A)
            .subscriber_ref(&DOUBLE_B)
            .subscriber_ref(&URGENT)
            .subscriber_ref(&KEYED)
            .subscriber_ref(&DELAYED)
            .build()
            .expect("the fixture is wired rightly");
        let clock = ManualClock::new();
        let events = Events::builder()
            .registry(registry)
            .clock(clock.clone())
            .settings(EventSettings { lease: LEASE, ..EventSettings::default() })
            .build()
            .expect("the fixture is set rightly");
        Self { harness: H::start(events.clone()).await, clock, events }
    }

    pub(super) fn broker(&self) -> &H::Broker {
        self.harness.broker()
    }

    /// Publishes in a session of its own.
    pub(super) async fn publish<E: Event + Send>(&self, event: E) -> EventId {
        let mut session = self.harness.begin().await;
        let id = put(&mut session, event);
        self.harness.commit(session).await.expect("the session commits");
        id
    }

    pub(super) async fn publish_keyed(&self, key: &str, number: u32) -> EventId {
        self.publish(Keyed { key: key.into(), number }).await
    }

    pub(super) async fn publish_numbers(&self, numbers: std::ops::Range<u32>) {
        let mut session = self.harness.begin().await;
        for number in numbers {
            put(&mut session, Single { number });
        }
        self.harness.commit(session).await.expect("the session commits");
    }

    pub(super) async fn worker(&self) -> WorkerId {
        let worker = WorkerId::generate();
        self.broker()
            .register(worker, &WorkerInfo::new(Queues::all(), 1))
            .await
            .expect("the worker registers");
        worker
    }

    pub(super) async fn claim(&self, worker: WorkerId, limit: usize) -> Vec<LeaseOf<H>> {
        self.claim_from(worker, &Queues::all(), limit).await
    }

    pub(super) async fn claim_from(
        &self,
        worker: WorkerId,
        queues: &Queues,
        limit: usize,
    ) -> Vec<LeaseOf<H>> {
        self.broker().claim(worker, queues, limit).await.expect("the claim succeeds").tasks
    }

    /// The one task that is due.
    pub(super) async fn claim_one(&self, worker: WorkerId) -> LeaseOf<H> {
        let mut tasks = self.claim(worker, 10).await;
        assert_eq!(tasks.len(), 1, "exactly one task is due");
        tasks.remove(0)
    }

    /// Settles one claim. Whether it still held.
    pub(super) async fn settle(&self, worker: WorkerId, lease: &LeaseOf<H>, next: Next) -> bool {
        let settlement =
            Settlement { receipt: lease.receipt.clone(), attempt: lease.attempt, next };
        let applied =
            self.broker().settle(worker, &[settlement]).await.expect("the broker settles");
        assert_eq!(applied.len(), 1, "an answer for each settlement");
        applied[0]
    }

    /// Lets time pass in which only `survivor` lives: it beats and rescues as a worker does.
    /// Returns what it rescued.
    pub(super) async fn outlive(
        &self,
        survivor: WorkerId,
        time: Duration,
    ) -> Vec<events_core::broker::Rescued> {
        let step = LEASE / 3;
        let mut rescued = Vec::new();
        let mut passed = Duration::ZERO;
        while passed < time {
            self.clock.advance(step);
            passed += step;
            self.broker().heartbeat(survivor).await.expect("the survivor beats");
            rescued
                .extend(self.broker().rescue(survivor, LEASE).await.expect("the survivor rescues"));
        }
        rescued
    }
}

pub(super) type LeaseOf<H> = Lease<<<H as Harness>::Broker as Broker>::Receipt>;

pub(super) fn put<E: Event>(session: &mut impl Session, event: E) -> EventId {
    unchecked::publish_after_commit(session, event).expect("the event encodes")
}

/// The number that a task carries.
pub(super) fn number<R>(lease: &Lease<R>) -> u32 {
    let event: Single = events_core::event::decode(&lease.task.payload).expect("it is a number");
    event.number
}

pub(super) fn numbers<R>(leases: &[Lease<R>]) -> Vec<u32> {
    leases.iter().map(number).collect()
}

pub(super) fn retry(after: Duration, error: &str) -> Next {
    Next::Retry { after, error: error.into() }
}
