//! What a session will publish, and assertions about it.

use events_core::Event;
use events_core::session::{PendingEvent, Session};

/// The events that are pending on a session, in the order in which they were published.
pub fn published_events<S: Session + ?Sized>(session: &S) -> &[PendingEvent] {
    session.pending_events().as_slice()
}

/// The pending events of one type, decoded.
///
/// # Panics
/// The type does not read what it wrote, which a hand-written `Event` could cause.
pub fn published<E: Event>(session: &(impl Session + ?Sized)) -> Vec<E> {
    published_events(session)
        .iter()
        .filter_map(PendingEvent::decode)
        .map(|event| event.expect("an event reads what it wrote"))
        .collect()
}

/// Discards the pending events of a session, so that a test can look at what comes next.
pub fn clear_pending_events<S: Session + ?Sized>(session: &mut S) {
    session.pending_events_mut().discard();
}

/// Asserts that events matching a pattern are pending on a session, and returns them.
///
/// With `count = n`, exactly that many must match; else at least one.
///
/// ```
/// use events_core::prelude::*;
/// use events_testing::{TestSession, assert_event_published};
///
/// #[derive(Event, Debug)]
/// struct StewardAdded { system_id: String, user_id: String }
///
/// #[publishes(StewardAdded)]
/// fn add(session: &mut impl Session, system: &str, user: &str) -> Result<EventId, PublishError> {
///     publish_after_commit(session, StewardAdded { system_id: system.into(), user_id: user.into() })
/// }
///
/// let events = Events::builder().build()?;
/// let mut session = TestSession::new(&events);
/// add(&mut session, "crm", "ada")?;
/// let added = assert_event_published!(session, StewardAdded { user_id, .. } if user_id == "ada", count = 1);
/// assert_eq!(added[0].system_id, "crm");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Panics
/// Too few or too many match; the text shows the events that are pending.
#[macro_export]
macro_rules! assert_event_published {
    ($session:expr, $($path:ident)::+ { $($fields:tt)* } $(if $guard:expr)? $(, count = $count:expr)? $(,)?) => {{
        let session = &$session;
        #[allow(unused_variables, irrefutable_let_patterns)]
        let found = $crate::__private::matches::<$($path)::+>(session, |event| {
            matches!(event, $($path)::+ { $($fields)* } $(if $guard)?)
        });
        #[allow(unused_mut, unused_assignments)]
        let mut wanted: ::core::option::Option<usize> = ::core::option::Option::None;
        $(wanted = ::core::option::Option::Some($count);)?
        $crate::__private::check_count(
            session,
            <$($path)::+ as ::events_core::Event>::NAME,
            concat!(stringify!($($path)::+ { $($fields)* }) $(, " if ", stringify!($guard))?),
            found.len(),
            wanted,
        );
        found
    }};
}

#[doc(hidden)]
pub fn matches<E: Event>(
    session: &(impl Session + ?Sized),
    matches: impl Fn(&E) -> bool,
) -> Vec<E> {
    published(session).into_iter().filter(|event| matches(event)).collect()
}

#[doc(hidden)]
#[track_caller]
pub fn check_count(
    session: &(impl Session + ?Sized),
    event: &str,
    pattern: &str,
    found: usize,
    wanted: Option<usize>,
) {
    let right = match wanted {
        Some(wanted) => found == wanted,
        None => found > 0,
    };
    if right {
        return;
    }
    let wanted = wanted.map_or_else(|| "at least 1".to_owned(), |wanted| wanted.to_string());
    let mut near = Vec::new();
    let mut others = Vec::new();
    for pending in published_events(session) {
        if pending.event == event {
            near.push(format!("\n  {} (by {})", pending.payload, pending.publisher));
        } else {
            others.push(format!("\n  {} {}", pending.event, pending.payload));
        }
    }
    let list = |events: &[String]| match events {
        [] => " none".to_owned(),
        events => events.concat(),
    };
    panic!(
        "expected {wanted} pending event(s) like `{pattern}`, found {found}\npending `{event}`:{}\nother pending events:{}",
        list(&near),
        list(&others),
    );
}
