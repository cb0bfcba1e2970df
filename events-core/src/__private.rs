//! All that generated code may name. Not public API.

pub use core;
pub use inventory;

pub use std::borrow::Cow;

use std::any::TypeId;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use serde_json::Value as Json;

pub use crate::cadence::{Cadence, Schedule};
pub use crate::event::{
    DecodeError, EncodeError, Encoder, Event, EventType, Field, JsonKind, Object,
};
pub use crate::extract::{Extract, FromStates, Invocation, States};
pub use crate::payload::{Codec, EventField, NeverNull};
pub use crate::publisher::{Declared, Publisher};
pub use crate::reconciler::{
    Reconciler, ReconcilerFunction, ReconcilerFuture, ReconcilerResult, Report, Scope,
};
pub use crate::session::{PublishError, PublishSite, Session};
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

/// The JSON value that a nested event is read from. Not a re-export: generated code needs the name
/// only.
pub type Value = Json;

/// Reads an event that stands in a field of another one.
pub fn nested<E: Event>(value: Value) -> Result<E, DecodeError> {
    E::__decode(&mut crate::event::object(value)?)
}

/// The fields of an event, as a function: types may be recursive.
#[must_use]
pub fn fields_of<E: Event>() -> &'static [Field] {
    E::FIELDS
}

/// What wiring needs of an event's type; implemented for every [`Event`].
///
/// Generated code claims it of an event in one place, so that a type which is no event is complained
/// about once.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    label = "expected a type that derives `Event`",
    note = "add `#[derive(Event)]` above the declaration of `{Self}`"
)]
pub trait WiredEvent: Sized {
    const WIRED: Wired<Self>;
}

/// An event's type, and what can be done with it. Claims nothing of `E`.
#[derive(Debug)]
pub struct Wired<E> {
    pub event: EventType,
    read: fn(&mut Object) -> Result<E, DecodeError>,
    publish: fn(&mut dyn Session, &E, PublishSite) -> Result<EventId, PublishError>,
}

#[diagnostic::do_not_recommend]
impl<E: Event + 'static> WiredEvent for E {
    const WIRED: Wired<E> = Wired {
        event: EventType {
            name: E::NAME,
            fields: E::FIELDS,
            id: TypeId::of::<E>(),
            rust_path: std::any::type_name::<E>,
        },
        read: E::__decode,
        publish: |session, event, site| crate::session::publish(session, event, site),
    };
}

impl<E> Wired<E> {
    /// Reads a handler's event.
    pub fn read(&self, payload: &str) -> Result<E, InvokeError> {
        Ok((self.read)(&mut crate::event::parse(payload)?)?)
    }

    /// What the `publish_after_commit` of a marked function does. The event is taken by value:
    /// nothing can change it afterwards.
    pub fn publish<S: Session + ?Sized>(
        &self,
        mut session: &mut S,
        event: E,
        publisher: &'static Publisher,
    ) -> Result<EventId, PublishError> {
        let event = event;
        (self.publish)(&mut session, &event, PublishSite::Declared(publisher))
    }
}

/// The type of a subscriber's first argument: the event it is registered for, and no other.
#[diagnostic::on_unimplemented(
    message = "this subscriber is registered for `{E}` but its first argument is `{Self}`",
    label = "expected the event, `{E}`",
    note = "the first argument of a subscriber is its event, by value; then come `State<T>`, `TaskContext`, `&mut EventTransaction<Db>`"
)]
pub trait Takes<E>: Sized {
    fn take(event: E) -> Self;
}

impl<E> Takes<E> for E {
    fn take(event: E) -> E {
        event
    }
}

/// The type of a reconciler's first argument.
#[diagnostic::on_unimplemented(
    message = "a reconciler's first argument is its `Scope`, not `{Self}`",
    label = "expected `Scope`",
    note = "after the scope may stand: `State<T>`, `ReconcilerContext`"
)]
pub trait TakesScope: Sized {
    fn take(scope: Scope) -> Self;
}

impl TakesScope for Scope {
    fn take(scope: Scope) -> Self {
        scope
    }
}

/// Boxes a handler's future; `convert` is the [`HandlerResult`] of what it resolves to.
pub fn handler_future<'a, F, R>(
    future: F,
    convert: fn(R) -> Result<(), Failure>,
) -> Result<HandlerFuture<'a>, InvokeError>
where
    F: Future<Output = R> + Send + 'a,
    R: 'a,
{
    Ok(Box::pin(Converted { future, convert }))
}

/// Boxes a reconciler's future; `convert` is the [`ReconcilerResult`] of what it resolves to.
pub fn reconciler_future<'a, F, R>(
    future: F,
    convert: fn(R) -> Result<Report, BoxError>,
) -> Result<ReconcilerFuture<'a>, InvokeError>
where
    F: Future<Output = R> + Send + 'a,
    R: 'a,
{
    Ok(Box::pin(Converted { future, convert }))
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

/// How many things the worker must have for arguments with these needs.
#[must_use]
pub const fn needs_len(arguments: &[Option<Need>]) -> usize {
    let (mut count, mut at) = (0, 0);
    while at < arguments.len() {
        if arguments[at].is_some() {
            count += 1;
        }
        at += 1;
    }
    count
}

/// The things that the worker must have for arguments with these needs.
#[must_use]
pub const fn needs<const N: usize>(arguments: &[Option<Need>]) -> [Need; N] {
    let mut list = [<crate::State<()> as FromStates>::NEED; N]; // every element is replaced
    let (mut count, mut at) = (0, 0);
    while at < arguments.len() {
        if let Some(need) = arguments[at] {
            list[count] = need;
            count += 1;
        }
        at += 1;
    }
    list
}

/// The JSON key of the field with this name in Rust.
#[must_use]
pub const fn key_of(fields: &[Field], rust_name: &'static str) -> &'static str {
    let mut at = 0;
    while at < fields.len() {
        if same(fields[at].rust_name.as_bytes(), rust_name.as_bytes()) {
            return fields[at].name;
        }
        at += 1;
    }
    rust_name // generated code accesses the field as well, which is what complains
}

const fn same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// The path of a function that is nested in another, for [`Publisher::path`].
#[must_use]
pub const fn anchor<F: Copy>(_: F) -> fn() -> &'static str {
    std::any::type_name::<F>
}

/// Stands in the code that is generated after an error: it compiles, and nobody runs it.
///
/// # Panics
/// Always.
pub fn refused() -> ! {
    unreachable!("a program with errors does not run")
}

/// A subscriber that was refused.
pub const REFUSED_SUBSCRIBER: &Subscriber = &Subscriber {
    task: "",
    aliases: &[],
    event: EventType {
        name: "",
        fields: &[],
        id: TypeId::of::<()>(),
        rust_path: std::any::type_name::<()>,
    },
    function: "",
    file: "",
    line: 0,
    queue: None,
    max_retries: None,
    retry_backoff: None,
    timeout: None,
    priority: 0,
    delay: None,
    debounce: None,
    reconciled_by: None,
    freshness_only: false,
    needs: &[],
    handler: Handler::Blocking(|_| refused()),
};

/// A reconciler that was refused.
pub const REFUSED_RECONCILER: &Reconciler = &Reconciler {
    name: "",
    function: "",
    file: "",
    line: 0,
    cadence: None,
    needs: &[],
    handler: |_, _| refused(),
};

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
        const PARTS: &[&$crate::__private::core::primitive::str] = &[$($part),+];
        const BYTES: [$crate::__private::core::primitive::u8; $crate::__private::dotted_len(PARTS)] =
            $crate::__private::dotted_bytes(PARTS);
        $crate::__private::dotted_str(&BYTES)
    }};
}

/// Declares the type with a function's name, which lets the function be named where types are.
///
/// In an `impl` no type can be declared, which no attribute can see; the compiler's complaint then
/// mentions this macro, so its name says what is wrong.
#[doc(hidden)]
#[macro_export]
macro_rules! __only_free_functions_can_be_registered {
    ($visibility:vis $function:ident) => {
        #[doc(hidden)]
        $visibility struct $function {}
    };
}

/// Lists what the worker must have for arguments of these types, at compile time.
#[doc(hidden)]
#[macro_export]
macro_rules! __needs {
    () => {
        &[]
    };
    ($($need:expr),+ $(,)?) => {{
        const ARGUMENTS: &[$crate::__private::core::option::Option<$crate::__private::Need>] =
            &[$($need),+];
        const NEEDS: [$crate::__private::Need; $crate::__private::needs_len(ARGUMENTS)] =
            $crate::__private::needs(ARGUMENTS);
        &NEEDS
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
