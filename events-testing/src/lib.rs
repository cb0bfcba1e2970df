//! For tests of programs that use events: only ever a dev-dependency.
//!
//! | to                                             | use                                      |
//! |------------------------------------------------|------------------------------------------|
//! | see what a session will publish                | [`published_events`], [`assert_event_published!`] |
//! | publish and run handlers without a database    | [`TestSession`]                          |
//! | run the handlers of what was committed         | [`drain`]                                |
//! | move time by hand                              | [`ManualClock`]                          |
//! | see what a fault does                          | [`faults`]                               |
//! | prove that publishers and subscribers match    | [`coverage()`]                           |
//! | prove that reconcilers make up for lost events | [`lost_events()`]                        |
//! | prove that a broker keeps its promises         | [`contract`]                             |
//!
//! Nothing here is a mock of the framework: events are encoded, fanned out, executed and settled by
//! the code that runs in production.

mod assertions;
mod clock;
pub mod contract;
mod coverage;
mod drain;
pub mod faults;
mod lost_events;
mod session;

pub use assertions::{clear_pending_events, published, published_events};
pub use clock::ManualClock;
pub use coverage::{Coverage, CoverageError, coverage};
pub use drain::{Drained, Run, drain};
pub use lost_events::{LostEvents, LostEventsError, lost_events};
pub use session::TestSession;

#[doc(hidden)] // Not public API. Used by macros.
pub mod __private {
    pub use crate::assertions::{check_count, matches};
    pub use tokio;
}
