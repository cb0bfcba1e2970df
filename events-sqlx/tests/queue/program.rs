//! A program with two events and three subscribers, a clock that is moved by hand, and what it logs.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use events_core::prelude::*;
use events_core::{Clock, Registry, Timestamp};
use tokio::sync::Notify;

#[derive(Event, Debug, Clone, PartialEq)]
pub(crate) struct Pinged {
    pub(crate) count: u32,
}

/// Two subscribers listen to it.
#[derive(Event, Debug, Clone, PartialEq)]
pub(crate) struct Changed {
    pub(crate) text: String,
}

#[subscribes_to(Pinged, queue = "pings", freshness_only)]
fn on_ping(_event: Pinged) {}

#[subscribes_to(Changed, queue = "changes", priority = -5, freshness_only)]
fn on_change_first(_event: Changed) {}

#[subscribes_to(Changed, queue = "changes", priority = 5, freshness_only)]
fn on_change_later(_event: Changed) {}

/// A clock that stands until it is moved.
#[derive(Debug, Clone)]
pub(crate) struct HandClock(Arc<AtomicI64>);

impl HandClock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(1_800_000_000_000_000)))
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }

    pub(crate) fn rewind(&self, by: Duration) {
        self.0.fetch_sub(i64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

pub(crate) fn events(settings: EventSettings, clock: &HandClock) -> Events {
    let registry = Registry::builder()
        .subscriber::<on_ping>()
        .subscriber::<on_change_first>()
        .subscriber::<on_change_later>()
        .build()
        .unwrap();
    Events::builder().registry(registry).settings(settings).clock(clock.clone()).build().unwrap()
}

pub(crate) fn ping(session: &mut impl Session, count: u32) {
    events_core::unchecked::publish_after_commit(session, Pinged { count }).unwrap();
}

pub(crate) fn change(session: &mut impl Session, text: &str) {
    events_core::unchecked::publish_after_commit(session, Changed { text: text.into() }).unwrap();
}

/// Collects the messages of errors that are logged on this thread.
#[derive(Clone, Default)]
pub(crate) struct Errors(Arc<(Mutex<Vec<String>>, Notify)>);

impl Errors {
    pub(crate) fn logged(&self) -> Vec<String> {
        self.0.0.lock().unwrap().clone()
    }

    /// Resolves when there is one more.
    pub(crate) async fn next(&self) {
        self.0.1.notified().await;
    }
}

impl tracing::field::Visit for Errors {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0.0.lock().unwrap().push(format!("{value:?}"));
            self.0.1.notify_one();
        }
    }
}

impl tracing::Subscriber for Errors {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::ERROR
    }

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut self.clone());
    }

    fn new_span(&self, _span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _span: &tracing::span::Id, _values: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _span: &tracing::span::Id, _follows: &tracing::span::Id) {}
    fn enter(&self, _span: &tracing::span::Id) {}
    fn exit(&self, _span: &tracing::span::Id) {}
}
