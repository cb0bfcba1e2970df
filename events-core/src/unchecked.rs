//! The explicit way out of `#[publishes]`, for relays and generic code.
//!
//! What is published here is not proven by the compiler. Coverage therefore lists the call sites
//! that ran.

use std::collections::BTreeSet;
use std::panic::Location;
use std::sync::{Mutex, PoisonError};

use crate::event::{Event, EventId};
use crate::session::{self, PublishError, PublishSite, Session};

/// Queues `event` on the session, from any function.
///
/// Prefer `publish_after_commit` inside a function marked `#[publishes(TheEvent)]`: the list of
/// who publishes what is then complete, and proven.
///
/// # Errors
/// The event cannot be JSON or is too large; see [`PublishError`].
#[track_caller]
pub fn publish_after_commit<S: Session + ?Sized, E: Event>(
    session: &mut S,
    event: E,
) -> Result<EventId, PublishError> {
    let event = event; // taken by value, as everywhere: nothing can change it afterwards
    session::publish(session, &event, PublishSite::Unchecked(Location::caller()))
}

/// A place that published without declaration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UncheckedSite {
    /// `file:line`.
    pub location: String,
    /// The event's name.
    pub event: &'static str,
}

static SITES: Mutex<BTreeSet<UncheckedSite>> = Mutex::new(BTreeSet::new());

pub(crate) fn record(at: &Location<'_>, event: &'static str) {
    let site = UncheckedSite { location: format!("{}:{}", at.file(), at.line()), event };
    SITES.lock().unwrap_or_else(PoisonError::into_inner).insert(site);
}

/// The places of this process that have published without declaration so far.
#[must_use]
pub fn sites() -> Vec<UncheckedSite> {
    SITES.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
}
