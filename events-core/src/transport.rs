//! The seam to what accepts tasks.

use std::future::Future;

use crate::BoxError;
use crate::task::Task;

/// Accepts tasks. Implemented where the queue is not in the application's database; where it is,
/// tasks are rows of the session's transaction and no transport is involved.
pub trait Transport: Send + Sync + 'static {
    /// Sends these tasks, in this order as far as the transport keeps any.
    ///
    /// A task that cannot be sent does not stop the others.
    ///
    /// # Errors
    /// Those that were not sent, with the reason.
    fn send(&self, tasks: Vec<Task>) -> impl Future<Output = Result<(), TransportError>> + Send;
}

/// Tasks that were not sent.
#[derive(Debug, thiserror::Error)]
#[error("{} of the tasks could not be sent", unsent.len())]
pub struct TransportError {
    /// Each task with the reason.
    pub unsent: Vec<(Task, BoxError)>,
}
