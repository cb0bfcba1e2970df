//! A program with handlers, for workers in the test's own process.

use std::time::Duration;

use events_celery::{CeleryBroker, CeleryOptions};
use events_core::Registry;
use events_core::prelude::*;
use events_runtime::{Worker, WorkerBuilder};
use tokio::sync::watch;

use super::world::{World, eventually};
use crate::world::Seen;

/// The queue of its handlers.
pub const QUEUE: &str = "shop";

/// An order was placed.
#[derive(Event, Clone, Debug, Default, PartialEq)]
pub struct OrderPlaced {
    pub number: i64,
    pub note: Option<String>,
    pub key: Option<String>,
    pub placed_at: Option<String>,
    pub price: Option<String>,
}

/// What a handler has seen.
#[derive(Clone, Debug)]
pub struct Taken {
    pub order: OrderPlaced,
    pub task: TaskContext,
}

/// What handlers see and wait for.
#[derive(Clone)]
pub struct Counter {
    taken: Seen<Taken>,
    open: watch::Sender<bool>,
}

impl Counter {
    /// Handlers go on at once.
    pub fn open() -> Self {
        Self { taken: Seen::default(), open: watch::Sender::new(true) }
    }

    /// Handlers wait until [`let_go`](Self::let_go).
    pub fn closed() -> Self {
        Self { taken: Seen::default(), open: watch::Sender::new(false) }
    }

    pub fn let_go(&self) {
        self.open.send_replace(true);
    }

    pub fn all(&self) -> Vec<Taken> {
        self.taken.all()
    }

    /// The numbers of the orders, in the order in which they were taken.
    pub fn numbers(&self) -> Vec<i64> {
        self.all().iter().map(|taken| taken.order.number).collect()
    }

    /// Waits until this order is taken.
    pub async fn awaits(&self, number: i64) -> Taken {
        let of = |taken: &Taken| taken.order.number == number;
        eventually("taken", async || self.all().iter().any(of)).await;
        self.all().into_iter().rfind(of).unwrap()
    }
}

/// With the note `fails once`, the first attempt fails.
#[subscribes_to(
    OrderPlaced,
    name = "shop.take_order",
    queue = "shop",
    freshness_only,
    retry_backoff = "10ms..20ms"
)]
async fn take_order(
    order: OrderPlaced,
    task: TaskContext,
    State(counter): State<Counter>,
) -> Result<(), Failure> {
    let fails = order.note.as_deref() == Some("fails once") && task.attempt() == 1;
    counter.taken.push(Taken { order, task });
    counter.open.subscribe().wait_for(|open| *open).await.ok();
    match fails {
        true => Err(Failure::retry("the first attempt is to fail")),
        false => Ok(()),
    }
}

/// What in Python is retried until somebody else takes it.
#[subscribes_to(OrderPlaced, name = "fleet.hands_on", queue = "shop", freshness_only)]
async fn hands_on(order: OrderPlaced, task: TaskContext, State(counter): State<Counter>) {
    counter.taken.push(Taken { order, task });
}

pub fn events() -> Events {
    let settings = EventSettings {
        unknown_task_delay: Duration::from_millis(100),
        lease: Duration::from_secs(1),
        ..EventSettings::default()
    };
    crate::world::events_of(Registry::builder().linked_in(module_path!()), settings)
}

/// A broker whose queue is the shop's own.
pub async fn broker(world: &World) -> CeleryBroker {
    world.broker(&events()).await
}

/// A broker whose queue is shared with workers in Python.
pub async fn shared_broker(world: &World) -> CeleryBroker {
    world.broker_with(shared(world), &events()).await
}

pub fn shared(world: &World) -> CeleryOptions {
    world.options().shared_queues([QUEUE])
}

pub fn worker(broker: &CeleryBroker, counter: &Counter) -> WorkerBuilder<CeleryBroker> {
    use events_core::broker::Broker;
    Worker::builder(broker.events(), broker.clone()).state(counter.clone())
}
