//! Tasks that are sent elsewhere, on real databases, through a transport that is made to fail.

mod after_commit;
mod database;
mod handover;
mod moved;
mod operators;
mod postgres_away;
mod processes;
mod recovery;
mod refusals;
mod relays;
mod renewals;
mod sending;
mod transport;
mod workers;

use std::time::Duration;

use events_core::prelude::*;
use events_core::{Broker, Registry};
use events_runtime::Relay;
use events_testing::ManualClock;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use transport::Recorder;

/// One subscriber here, and one whose tasks go elsewhere.
#[derive(Event, Debug, Clone, PartialEq)]
pub struct Counted {
    pub publisher: u32,
    pub number: u32,
}

#[subscribes_to(Counted, queue = "elsewhere", freshness_only)]
fn count_elsewhere(_: Counted) {}

#[subscribes_to(Counted, queue = "here", freshness_only)]
fn count_here(_: Counted) {}

/// The queue whose tasks go elsewhere.
pub fn elsewhere() -> Queues {
    Queues::only(["elsewhere"])
}

pub fn publish(session: &mut impl Session, publisher: u32, number: u32) {
    let event = Counted { publisher, number };
    events_core::unchecked::publish_after_commit(session, event).unwrap();
}

/// The events of these tests, by a clock that is moved by hand.
pub fn events(clock: &ManualClock) -> Events {
    let registry = Registry::builder().subscriber::<count_elsewhere>().subscriber::<count_here>();
    let registry = registry.build().unwrap();
    Events::builder().registry(registry).clock(clock.clone()).build().unwrap()
}

/// A relay that runs beside a test.
pub struct Running {
    stop: Option<oneshot::Sender<()>>,
    run: JoinHandle<()>,
}

impl Running {
    pub fn start<Q: Broker + events_core::Outbox>(queue: &Q, transport: &Recorder) -> Self {
        Self::of(Relay::new(queue.clone(), transport.clone()).batch(64))
    }

    pub fn of<Q: events_core::Outbox>(relay: Relay<Q, Recorder>) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let run = tokio::spawn(async {
            let stopped = async { stopped.await.ok() };
            relay.run_until(stopped).await.unwrap();
        });
        Self { stop: Some(stop), run }
    }

    /// Stops it gracefully.
    pub async fn stop(mut self) {
        self.stop.take().unwrap().send(()).ok();
        soon((&mut self.run).into_future()).await.unwrap();
    }

    /// Ends it in the middle of whatever it does, as if its process had died.
    pub async fn kill(mut self) {
        self.run.abort();
        (&mut self.run).await.ok();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.run.abort();
    }
}

/// Fails rather than hangs.
pub async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_mins(1), future).await.expect("it hangs")
}

/// Resolves when `what` is so.
pub async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_mins(1), waiting).await.is_ok();
    assert!(in_time, "not within a minute: {what}");
}
