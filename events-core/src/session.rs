//! Sessions, and the events that wait in them for the commit.

use std::panic::Location;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::context;
use crate::event::{DecodeError, EncodeError, Event, EventId, decode};
use crate::events::Events;
use crate::publisher::Publisher;
use crate::task::{Headers, TRACEPARENT};

/// A unit of work whose commit publishes the events that were queued on it; an open transaction.
///
/// Adapters implement it. Programs use it only through `publish_after_commit`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a session",
    label = "expected an open transaction, such as `EventTransaction<Db>`",
    note = "an event is published in the transaction that caused it: begin one, and pass it on as `&mut`"
)]
pub trait Session {
    /// The events queued so far.
    fn pending_events(&self) -> &PendingEvents;

    /// The events queued so far, to add to them.
    fn pending_events_mut(&mut self) -> &mut PendingEvents;
}

impl<S: Session + ?Sized> Session for &mut S {
    fn pending_events(&self) -> &PendingEvents {
        (**self).pending_events()
    }

    fn pending_events_mut(&mut self) -> &mut PendingEvents {
        (**self).pending_events_mut()
    }
}

impl<S: Session + ?Sized> Session for Box<S> {
    fn pending_events(&self) -> &PendingEvents {
        (**self).pending_events()
    }

    fn pending_events_mut(&mut self) -> &mut PendingEvents {
        (**self).pending_events_mut()
    }
}

/// The events of one session, in the order in which they were published.
#[derive(Debug)]
pub struct PendingEvents {
    events: Events,
    pending: Vec<PendingEvent>,
}

/// An event that was published but not yet committed. It is encoded already, and frozen.
#[derive(Debug, Clone)]
pub struct PendingEvent {
    /// The event.
    pub id: EventId,
    /// Its name on the wire.
    pub event: &'static str,
    /// The event as JSON.
    pub payload: Arc<str>,
    /// Where it was published.
    pub publisher: PublishSite,
    /// When.
    pub published_at: Timestamp,
    /// What travels beside it.
    pub headers: Headers,
}

/// Where an event was published.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum PublishSite {
    /// In a function marked `#[publishes]`.
    Declared(&'static Publisher),
    /// By [`unchecked::publish_after_commit`](crate::unchecked::publish_after_commit).
    Unchecked(&'static Location<'static>),
}

impl std::fmt::Display for PublishSite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Declared(publisher) => {
                write!(f, "{} ({}:{})", publisher.path(), publisher.file, publisher.line)
            }
            Self::Unchecked(at) => write!(f, "{}:{}", at.file(), at.line()),
        }
    }
}

impl PendingEvent {
    /// Whether this is an event of type `E`.
    #[must_use]
    pub fn is<E: Event>(&self) -> bool {
        self.event == E::NAME
    }

    /// The event, if it is of type `E`.
    ///
    /// # Errors
    /// [`DecodeError`] if the type does not read what it wrote, which a hand-written
    /// implementation of [`Event`] could cause.
    #[must_use]
    pub fn decode<E: Event>(&self) -> Option<Result<E, DecodeError>> {
        self.is::<E>().then(|| decode(&self.payload))
    }
}

impl PendingEvents {
    /// No events yet, in a program with these settings and subscribers.
    #[must_use]
    pub fn new(events: &Events) -> Self {
        Self { events: events.clone(), pending: Vec::new() }
    }

    /// The program's events.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// How many there are. A savepoint remembers it, to [`truncate`](Self::truncate) to.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// All of them, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[PendingEvent] {
        &self.pending
    }

    /// Takes all of them out, for the commit.
    #[must_use]
    pub fn take(&mut self) -> Vec<PendingEvent> {
        std::mem::take(&mut self.pending)
    }

    /// Discards what was published after there were `length` of them: a savepoint was rolled back.
    pub fn truncate(&mut self, length: usize) {
        log_discarded(self.pending.len().saturating_sub(length));
        self.pending.truncate(length);
    }

    /// Discards all of them: the session was rolled back.
    pub fn discard(&mut self) {
        log_discarded(self.pending.len());
        self.pending.clear();
    }

    fn push(&mut self, event: &'static str, payload: Arc<str>, publisher: PublishSite) -> EventId {
        let id = EventId::generate();
        let mut headers = Headers::new();
        if let Some(trace) = self.traceparent() {
            headers.insert(TRACEPARENT, trace);
        }
        tracing::debug!(event_id = %id, event, publisher = %publisher, "event published, pending commit");
        self.pending.push(PendingEvent {
            id,
            event,
            payload,
            publisher,
            published_at: self.events.now(),
            headers,
        });
        id
    }

    /// The trace that this publish belongs to: the application's current one, else that of the
    /// task whose handler publishes.
    fn traceparent(&self) -> Option<String> {
        self.events
            .current_traceparent()
            .or_else(|| context::with_current(|task| task?.header(TRACEPARENT).map(str::to_owned)))
    }
}

fn log_discarded(count: usize) {
    if count > 0 {
        tracing::debug!(count, "rolled back: pending events discarded");
    }
}

/// An event that could not be published. The session stays usable; nothing was queued.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The event cannot be JSON.
    #[error("event `{event}` cannot be published")]
    Encode {
        /// Its name.
        event: &'static str,
        /// Which field, and why.
        source: EncodeError,
    },
    /// The payload is larger than `payload_limit_bytes` allows.
    #[error(
        "event `{event}` is {bytes} bytes of JSON and the limit is {limit}; publish identifiers and let handlers read the state, or raise the setting `payload_limit_bytes`"
    )]
    TooLarge {
        /// Its name.
        event: &'static str,
        /// The size of its payload.
        bytes: usize,
        /// The limit that applies.
        limit: usize,
    },
}

/// Encodes `event` and queues it on the session. All publishing comes through here.
pub(crate) fn publish<S: Session + ?Sized, E: Event>(
    session: &mut S,
    event: &E,
    site: PublishSite,
) -> Result<EventId, PublishError> {
    let encoded = crate::event::encode(event);
    accept(session.pending_events_mut(), E::NAME, encoded, site)
}

/// The part that need not be compiled for every event.
fn accept(
    pending: &mut PendingEvents,
    event: &'static str,
    encoded: Result<Arc<str>, EncodeError>,
    site: PublishSite,
) -> Result<EventId, PublishError> {
    let payload = encoded.map_err(|source| PublishError::Encode { event, source })?;
    let limit = pending.events.settings().payload_limit_bytes;
    if payload.len() > limit {
        return Err(PublishError::TooLarge { event, bytes: payload.len(), limit });
    }
    match site {
        PublishSite::Declared(publisher) => publisher.count(event),
        PublishSite::Unchecked(location) => crate::unchecked::record(location, event),
    }
    Ok(pending.push(event, payload, site))
}
