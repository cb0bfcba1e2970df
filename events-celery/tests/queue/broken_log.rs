//! A bug on the way, at a place that a test names.

use std::fmt::{Debug, Write};

use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::logs::Logs;

/// A log that panics at lines with this text: it stands for any bug on the way.
struct Broken(&'static str);

impl<S: Subscriber> Layer<S> for Broken {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        assert!(!line.0.contains(self.0), "the log is broken");
    }
}

#[derive(Default)]
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, _: &Field, value: &dyn Debug) {
        write!(self.0, "{value:?} ").unwrap();
    }
}

/// The current thread panics when it logs such a line, until the guard is dropped.
pub fn panic_at(text: &'static str) -> DefaultGuard {
    drop(Logs::capture()); // so that this line is not taken for one to which nobody listens
    tracing_subscriber::registry().with(Broken(text)).set_default()
}
