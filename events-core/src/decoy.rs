//! What `publish_after_commit` is outside a marked function: an error that says what to write.
//!
//! `#[publishes]` puts the real one into the function's body, where it shadows this.

use crate::event::EventId;
use crate::session::PublishError;

/// Queues `event` on the session; if it commits, every subscriber gets a task.
///
/// It works only inside a function marked [`#[publishes(TheEvent)]`](crate::publishes), and only
/// for the events declared there. So the list of who publishes what is complete, and proven by the
/// compiler. It is not async and does nothing but encode the event, which is frozen from then on.
///
/// # Errors
/// The event cannot be JSON or is too large; see [`PublishError`]. The session stays usable.
///
/// # Examples
/// ```
/// use events_core::prelude::*;
///
/// #[derive(Event)]
/// struct StewardAdded { system_id: String, user_id: String }
///
/// #[publishes(StewardAdded)]
/// fn add(session: &mut impl Session, user: &str, system: &str) -> Result<(), PublishError> {
///     // … change the state through the session …
///     publish_after_commit(session, StewardAdded { system_id: system.into(), user_id: user.into() })?;
///     Ok(())
/// }
/// ```
///
/// Elsewhere it does not compile:
/// ```compile_fail,E0277
/// use events_core::prelude::*;
/// # #[derive(Event)]
/// # struct StewardAdded { system_id: String, user_id: String }
/// fn add(session: &mut impl Session) {
///     let event = StewardAdded { system_id: "crm".into(), user_id: "ada".into() };
///     publish_after_commit(session, event).ok();
/// }
/// ```
#[allow(unused_variables, clippy::needless_pass_by_value, clippy::missing_panics_doc)]
pub fn publish_after_commit<S: ?Sized, E>(
    session: &mut S,
    event: E,
) -> Result<EventId, PublishError>
where
    E: DeclaredByTheFunction,
{
    unreachable!("no type satisfies the bound")
}

/// Satisfied by nothing: the events a function declares satisfy a trait of its own.
#[diagnostic::on_unimplemented(
    message = "publishing `{Self}` outside a function marked `#[publishes(..)]`",
    label = "this function doesn't declare that it publishes",
    note = "mark the enclosing function with `#[publishes({Self})]`"
)]
pub trait DeclaredByTheFunction: sealed::Sealed {}

mod sealed {
    pub trait Sealed {}
}
