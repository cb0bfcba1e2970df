//! All that generated code may name. Not public API.

pub use core;
pub use inventory;
pub use std::boxed::Box;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

pub use crate::event::{DecodeError, EncodeError, Encoder, Event, EventType, Field, JsonKind, Object};
pub use crate::extract::{Extract, FromStates, Invocation, States};
pub use crate::payload::{EventField, NeverNull};
pub use crate::publisher::{Declared, Publisher};
pub use crate::reconciler::{
    ReconcileError, Reconciler, ReconcilerFunction, ReconcilerFuture, ReconcilerResult, Scope,
};
pub use crate::session::{PublishError, Session};
pub use crate::subscriber::{
    Backoff, Debounce, Handler, HandlerFuture, HandlerResult, InvokeError, Need, Subscriber,
    SubscriberFunction,
};
pub use crate::{BoxError, EventId, Failure};

/// One registration, collected at link time.
#[derive(Debug)]
pub enum Registration {
    Subscriber(&'static Subscriber),
    Publisher(&'static Publisher),
    Reconciler(&'static Reconciler),
    Expectation(&'static LinkExpectation),
}

inventory::collect!(Registration);

/// What `link_subscribers!` names.
#[derive(Debug)]
pub struct LinkExpectation {
    pub path: &'static str,
    pub file: &'static str,
    pub line: u32,
}

/// What the `publish_after_commit` of a marked function does.
pub fn publish<S: Session + ?Sized, E: Event>(
    session: &mut S,
    event: E,
    publisher: &'static Publisher,
) -> Result<EventId, PublishError> {
    let event = event; // taken by value: nothing can change it afterwards
    crate::session::publish(session, &event, crate::session::PublishSite::Declared(publisher))
}

/// The object that a handler's event is decoded from.
pub fn object(payload: &str) -> Result<Object, InvokeError> {
    Ok(crate::event::parse(payload)?)
}

/// Boxes a handler's future.
pub fn handler_future<'a, F>(future: F) -> HandlerFuture<'a>
where
    F: Future<Output: HandlerResult> + Send + 'a,
{
    Box::pin(Converted { future, convert: HandlerResult::into_handler_result })
}

/// Boxes a reconciler's future.
pub fn reconciler_future<'a, F>(future: F) -> ReconcilerFuture<'a>
where
    F: Future<Output: ReconcilerResult> + Send + 'a,
{
    Box::pin(Converted { future, convert: ReconcilerResult::into_reconciler_result })
}

pin_project! {
    /// A future whose output is converted. Smaller in generated code than an `async` block.
    struct Converted<F, R, T> where F: Future<Output = R> {
        #[pin]
        future: F,
        convert: fn(R) -> T,
    }
}

impl<F: Future<Output = R>, R, T> Future for Converted<F, R, T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = self.project();
        this.future.poll(cx).map(*this.convert)
    }
}

/// The length of the dotted name of these parts.
#[must_use]
pub const fn dotted_len(parts: &[&str]) -> usize {
    dotted::<0>(parts).1
}

/// The dotted name of these parts: `::` becomes `.`, and `r#` of raw identifiers goes.
#[must_use]
pub const fn dotted_bytes<const N: usize>(parts: &[&str]) -> [u8; N] {
    dotted::<N>(parts).0
}

/// Writes the name as far as it fits and counts how long it is.
const fn dotted<const N: usize>(parts: &[&str]) -> ([u8; N], usize) {
    let mut out = [0; N];
    let mut length = 0;
    let mut part = 0;
    while part < parts.len() {
        let bytes = parts[part].as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let followed_by = if at + 1 < bytes.len() { bytes[at + 1] } else { 0 };
            let (byte, skip) = match (bytes[at], followed_by) {
                (b':', b':') => (b'.', 2),
                (b'r', b'#') => (0, 2),
                (byte, _) => (byte, 1),
            };
            if byte != 0 {
                if length < N {
                    out[length] = byte;
                }
                length += 1;
            }
            at += skip;
        }
        part += 1;
    }
    (out, length)
}

/// The name that [`dotted_bytes`] wrote.
#[must_use]
pub const fn dotted_str(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(name) => name,
        Err(_) => panic!("paths are UTF-8"),
    }
}

/// Joins paths to a dotted name, at compile time.
#[doc(hidden)]
#[macro_export]
macro_rules! __dotted {
    ($($part:expr),+ $(,)?) => {{
        const PARTS: &[&str] = &[$($part),+];
        const BYTES: [u8; $crate::__private::dotted_len(PARTS)] =
            $crate::__private::dotted_bytes(PARTS);
        $crate::__private::dotted_str(&BYTES)
    }};
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_dotted_and_raw_identifiers_lose_their_mark() {
        const NAME: &str = crate::__dotted!("events.", "app::r#type", "::", "Match");
        assert_eq!(NAME, "events.app.type.Match");
    }
}
