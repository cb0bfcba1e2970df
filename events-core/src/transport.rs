//! The seam to what accepts tasks.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::BoxError;
use crate::task::Task;

/// Accepts tasks. Implemented where the queue is not in the application's database; where it is,
/// tasks are rows of the session's transaction and no transport is involved.
///
/// A [`Forwarding`](crate::Forwarding) says which tasks go through one, and when.
pub trait Transport: Send + Sync + 'static {
    /// Sends these tasks, in this order as far as the transport keeps any.
    ///
    /// A task that cannot be sent does not stop the others. The same task may be sent twice, with
    /// the same ids: whoever sent it may not have learnt that it had arrived.
    ///
    /// # Errors
    /// Those that were not sent, with the reason, and whether another try may help.
    fn send(&self, tasks: Vec<Task>) -> impl Future<Output = Result<(), TransportError>> + Send;
}

impl<T: Transport + ?Sized> Transport for Arc<T> {
    fn send(&self, tasks: Vec<Task>) -> impl Future<Output = Result<(), TransportError>> + Send {
        (**self).send(tasks)
    }
}

/// The future of [`ErasedTransport::send_erased`].
pub type Sending<'t> = Pin<Box<dyn Future<Output = Result<(), TransportError>> + Send + 't>>;

/// Any [`Transport`], behind a pointer: `Arc<dyn ErasedTransport>` is a transport too. Implemented
/// for every transport.
pub trait ErasedTransport: Send + Sync + 'static {
    /// [`Transport::send`], in a box.
    fn send_erased(&self, tasks: Vec<Task>) -> Sending<'_>;
}

impl<T: Transport> ErasedTransport for T {
    fn send_erased(&self, tasks: Vec<Task>) -> Sending<'_> {
        Box::pin(self.send(tasks))
    }
}

impl Transport for dyn ErasedTransport {
    async fn send(&self, tasks: Vec<Task>) -> Result<(), TransportError> {
        self.send_erased(tasks).await
    }
}

impl fmt::Debug for dyn ErasedTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ErasedTransport")
    }
}

/// Tasks that were not sent, at least one. The others of the call were.
///
/// ```
/// # use events_core::Task;
/// # use events_core::transport::{Transport, TransportError, Unsent};
/// /// A broker that is never there.
/// struct Away;
///
/// impl Transport for Away {
///     async fn send(&self, tasks: Vec<Task>) -> Result<(), TransportError> {
///         TransportError::check(Unsent::all_later(tasks, "the broker is away"))
///     }
/// }
/// ```
#[derive(Debug)]
pub struct TransportError {
    unsent: Vec<Unsent>,
}

impl TransportError {
    /// What a transport answers that could not send these, each with the reason.
    ///
    /// # Errors
    /// There are some.
    pub fn check(unsent: Vec<Unsent>) -> Result<(), Self> {
        if unsent.is_empty() { Ok(()) } else { Err(Self { unsent }) }
    }

    /// Those that were not sent, each with the reason.
    #[must_use]
    pub fn unsent(&self) -> &[Unsent] {
        &self.unsent
    }

    /// The same, to keep them.
    #[must_use]
    pub fn into_unsent(self) -> Vec<Unsent> {
        self.unsent
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of the tasks could not be sent", self.unsent.len())
    }
}

/// The source is the reason of the first.
impl Error for TransportError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.unsent.first().map(|unsent| &*unsent.error as &(dyn Error + 'static))
    }
}

/// A task that was not sent.
#[derive(Debug)]
#[non_exhaustive]
pub struct Unsent {
    /// The task.
    pub task: Task,
    /// Why.
    pub error: BoxError,
    /// Whether it may be sent later, because the broker is away, say. A task that is not retryable
    /// can never be sent: it is malformed or too large for the broker, and becomes a dead letter.
    pub retryable: bool,
    away: bool,
}

impl Unsent {
    /// A task that may be sent later, for a reason of its own: its list takes nothing now, say. What
    /// follows it is not held up. If it is the broker that is away, say so with
    /// [`all_later`](Self::all_later): then what follows waits, and the order is kept.
    pub fn later(task: Task, error: impl Into<BoxError>) -> Self {
        Self { task, error: error.into(), retryable: true, away: false }
    }

    /// A task that can never be sent.
    pub fn never(task: Task, error: impl Into<BoxError>) -> Self {
        Self { task, error: error.into(), retryable: false, away: false }
    }

    /// Whether it was not sent because the broker is away, as [`Unsent::all_later`] says.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        self.away
    }

    /// Tasks that may all be sent later, for one reason: the broker is away.
    pub fn all_later(
        tasks: impl IntoIterator<Item = Task>,
        error: impl Into<BoxError>,
    ) -> Vec<Self> {
        let shared = Shared(Arc::from(error.into()));
        let away = |task| Self { away: true, ..Self::later(task, shared.clone()) };
        tasks.into_iter().map(away).collect()
    }
}

/// One error that is the reason of many.
#[derive(Debug, Clone)]
struct Shared(Arc<dyn Error + Send + Sync>);

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Shared {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
