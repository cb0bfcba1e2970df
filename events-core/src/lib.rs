//! Typed events, published in the transaction that caused them.
//!
//! A program changes state in a database transaction, and other work must follow. It says so by
//! publishing a typed event in that transaction. If the transaction rolls back, the event never
//! existed; if it commits, every subscriber of the event's type gets its own task.
//!
//! | step      | you write                                | module                        |
//! |-----------|------------------------------------------|-------------------------------|
//! | declare   | [`#[derive(Event)]`](derive@Event)       | [`event`], [`payload`]        |
//! | publish   | [`#[publishes]`](macro@publishes), [`publish_after_commit`](prelude::publish_after_commit) | [`session`], [`publisher`] |
//! | react     | [`#[subscribes_to]`](macro@subscribes_to) | [`subscriber`], [`extract`], [`context`] |
//! | repair    | [`#[reconciles]`](macro@reconciles)      | [`reconciler`]                |
//! | start     | [`Events::builder`]                      | [`events`], [`registry`], [`settings`] |
//! | prove     | `events_testing::coverage`               | [`coverage`], [`catalog`]     |
//!
//! Behind it, tasks travel: [`dispatch`] makes them of events, a [`transport`] accepts them, a
//! [`broker`] hands them to workers, and [`lifecycle`] decides where each goes after an attempt.
//!
//! This crate is the words: it knows no async runtime, no database and no broker. A domain crate
//! depends on it alone.

#[cfg(test)] // generated code says `::events_core`, in this crate's tests too
#[allow(unused_extern_crates)]
extern crate self as events_core;

pub mod broker;
pub mod catalog;
pub mod clock;
pub mod context;
pub mod coverage;
pub mod dispatch;
pub mod event;
pub mod events;
pub mod extract;
pub mod lifecycle;
pub mod payload;
pub mod prelude;
pub mod publisher;
pub mod reconciler;
pub mod registry;
pub mod session;
pub mod settings;
pub mod subscriber;
pub mod task;
pub mod transport;
pub mod unchecked;

mod decoy;

#[doc(hidden)] // Not public API. Used by generated code.
#[allow(missing_docs)]
pub mod __private;

#[doc(inline)]
pub use self::{
    broker::{Admin, Broker, BrokerError, Queues},
    clock::{Clock, SystemClock, Timestamp},
    context::{TaskContext, current_event_id},
    event::{Event, EventId, TaskId, WorkerId},
    events::{Events, StartError},
    extract::State,
    payload::EventField,
    reconciler::{Report, Scope},
    registry::{Registry, RegistryError},
    session::{PublishError, Session},
    settings::EventSettings,
    subscriber::Failure,
    task::Task,
    transport::Transport,
};

/// Any error, boxed.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

pub use events_macros::{Event, publishes, reconciles, subscribes_to};

/// Names the crates (or modules) whose subscribers and publishers this program must contain.
///
/// A crate that is only listed in `Cargo.toml` and never named in the source is not linked, and
/// its handlers silently vanish. This links each crate named and makes it an error at start if
/// nothing was registered under that path. Write it once, in `main.rs` or the test's root.
///
/// Write crates by their own names, not by names given to them in `Cargo.toml`.
///
/// ```standalone_crate
/// # mod stewardship {} mod billing { pub mod invoices {} }
/// events_core::link_subscribers!(stewardship, billing::invoices);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! link_subscribers {
    ($($first:ident $(:: $rest:ident)*),+ $(,)?) => {$(
        const _: () = {
            #[allow(unused_imports)]
            use $first $(:: $rest)* as _;
            $crate::__private::inventory::submit! {
                $crate::__private::Registration::Expectation(
                    &$crate::__private::LinkExpectation {
                        path: concat!(stringify!($first) $(, "::", stringify!($rest))*),
                        file: file!(),
                        line: line!(),
                    },
                )
            }
        };
    )+};
}
