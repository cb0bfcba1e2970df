//! What a program that uses events imports: `use events_core::prelude::*;`.

pub use crate::context::{TaskContext, current_event_id};
pub use crate::decoy::publish_after_commit;
pub use crate::event::EventId;
pub use crate::events::Events;
pub use crate::extract::State;
pub use crate::reconciler::{ReconcilerContext, Report, Scope};
pub use crate::session::{PublishError, Session};
pub use crate::settings::EventSettings;
pub use crate::subscriber::Failure;
pub use crate::{
    Event, Queues, foreign_subscriber, link_subscribers, publishes, reconciles, subscribes_to,
};
