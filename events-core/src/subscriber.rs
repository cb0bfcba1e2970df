//! What `#[subscribes_to]` and `foreign_subscriber!` register, and what a handler may answer.

use std::any::TypeId;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::BoxError;
use crate::event::{DecodeError, EventType};
use crate::extract::Invocation;
use crate::lifecycle::RetryPolicy;
use crate::settings::EventSettings;

/// A function registered for one event type, or a task of another program.
///
/// Made by `#[subscribes_to]` and [`foreign_subscriber!`](crate::foreign_subscriber!); a `static` of
/// the program.
pub struct Subscriber {
    /// The task's name on the wire: `events.<event path>.<subscriber path>`, or what `name` pins; of a
    /// foreign subscriber the name under which its program registers the task.
    pub task: &'static str,
    /// Further task names that this subscriber accepts, so that a rename orphans nothing.
    pub aliases: &'static [&'static str],
    /// The event.
    pub event: EventType,
    /// The function's path, `crate::module::function`; of a foreign subscriber the path of the module
    /// that declares it.
    pub function: &'static str,
    /// Where it is declared.
    pub file: &'static str,
    /// The line of its declaration.
    pub line: u32,
    /// The queue, if the attribute names one.
    pub queue: Option<&'static str>,
    /// The retries, if the attribute says so.
    pub max_retries: Option<u32>,
    /// The backoff, if the attribute says so.
    pub retry_backoff: Option<Backoff>,
    /// How long the handler may run, if the attribute says so.
    pub timeout: Option<Duration>,
    /// Smaller runs first; 0 unless the attribute says otherwise.
    pub priority: i16,
    /// How long after the commit its tasks are due, if the attribute says so; else at once.
    pub delay: Option<Duration>,
    /// The debounce, if the attribute asks for one.
    pub debounce: Option<Debounce>,
    /// The reconciler that repairs what this subscriber misses.
    pub reconciled_by: Option<&'static str>,
    /// Declared to be freshness only: losing an event is harmless.
    pub freshness_only: bool,
    /// What the function takes besides the event.
    pub needs: &'static [Need],
    /// The function, behind one signature, or that it is in another program.
    pub handler: Handler,
}

/// The `retry_backoff` of an attribute: `"1s"`, or `"1s..1h"` with the longest pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The pause before the first retry.
    pub initial: Duration,
    /// The longest pause, if given.
    pub maximum: Option<Duration>,
}

/// The `debounce` of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Debounce {
    /// How long a key must be quiet.
    pub window: Duration,
    /// How long the first event of a key waits at the most, however busy the key is.
    pub longest: Duration,
    /// The event's field that is the key: its name in the JSON object.
    pub by: &'static str,
}

impl Debounce {
    /// A key that is never quiet is handled after so many windows, unless `debounce_max` says
    /// otherwise.
    pub const WINDOWS: u32 = 10;
}

impl Subscriber {
    /// The queue of this subscriber's tasks.
    #[must_use]
    pub fn queue<'s>(&'s self, settings: &'s EventSettings) -> &'s str {
        self.queue.unwrap_or(&settings.default_queue)
    }

    /// How its tasks are retried.
    #[must_use]
    pub fn retry_policy(&self, settings: &EventSettings) -> RetryPolicy {
        let mut backoff = settings.backoff();
        if let Some(declared) = self.retry_backoff {
            backoff.initial = declared.initial;
            backoff.maximum = declared.maximum.unwrap_or(backoff.maximum.max(declared.initial));
        }
        RetryPolicy { max_retries: self.max_retries.unwrap_or(settings.max_retries), backoff }
    }

    /// How long an attempt may take.
    #[must_use]
    pub fn timeout(&self, settings: &EventSettings) -> Duration {
        self.timeout.unwrap_or(settings.timeout)
    }

    /// Whether the handler runs in the transaction in which its task completes.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.needs.iter().any(|need| need.kind == NeedKind::Transaction)
    }

    /// Whether its tasks are for another program: no worker of this one runs them.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        matches!(self.handler, Handler::Foreign)
    }

    /// The function, or the task of another program, and where it is declared: as messages name it.
    #[must_use]
    pub fn place(&self) -> String {
        match self.is_foreign() {
            true => format!("the foreign task `{}` ({})", self.task, self.location()),
            false => format!("`{}` ({})", self.function, self.location()),
        }
    }

    /// `file:line`.
    #[must_use]
    pub fn location(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber")
            .field("task", &self.task)
            .field("function", &self.function)
            .finish_non_exhaustive()
    }
}

/// Something a handler takes that the worker must have.
#[derive(Clone, Copy)]
pub struct Need {
    /// What kind of thing.
    pub kind: NeedKind,
    /// Its type.
    pub id: TypeId,
    /// Its type's path in Rust, for people.
    pub rust_path: fn() -> &'static str,
}

impl fmt::Debug for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}<{}>", self.kind, (self.rust_path)())
    }
}

/// The kinds of [`Need`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NeedKind {
    /// Application state, given to the worker's builder.
    State,
    /// The transaction in which the task completes, provided by the broker.
    Transaction,
}

/// What a handler's future resolves to.
pub type HandlerFuture<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>>;

/// A subscriber's function, behind one signature, or where else it is.
#[derive(Clone, Copy)]
pub enum Handler {
    /// An `async fn`.
    Async(for<'a> fn(Invocation<'a>) -> Result<HandlerFuture<'a>, InvokeError>),
    /// A plain `fn`; it runs on the blocking pool.
    Blocking(for<'a> fn(Invocation<'a>) -> Result<Result<(), Failure>, InvokeError>),
    /// In another program, which serves the queue; see
    /// [`foreign_subscriber!`](crate::foreign_subscriber!).
    Foreign,
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Async(_) => "Async",
            Self::Blocking(_) => "Blocking",
            Self::Foreign => "Foreign",
        })
    }
}

/// A handler that could not be called.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvokeError {
    /// The payload is not the event that the handler takes. Trying again cannot help.
    #[error("the payload cannot be decoded")]
    Decode(#[from] DecodeError),
    /// The worker has no such thing. It is checked when the worker is built.
    #[error("the handler takes {0}, which nobody provided")]
    Missing(&'static str),
}

/// How a handler that did not succeed wants its task to go on.
///
/// Any error converts into [`Failure::Retry`], so `?` in a handler means "try again later". To
/// let that conversion exist for every error, `Failure` is not an error itself.
///
/// ```
/// # use events_core::prelude::*;
/// # use std::time::Duration;
/// fn check(answer: &str) -> Result<u32, Failure> {
///     match answer {
///         "busy" => Err(Failure::Snooze(Duration::from_secs(30))),
///         "gone" => Err(Failure::discard("the system no longer exists")),
///         other => Ok(other.parse()?),
///     }
/// }
/// assert!(matches!(check("nonsense"), Err(Failure::Retry(_))));
/// ```
#[derive(Debug)]
pub enum Failure {
    /// Try again after a backoff; a dead letter when the attempts are used up.
    Retry(BoxError),
    /// Never try again: a dead letter at once, with this reason.
    Discard(BoxError),
    /// Not now: try again after this pause. Costs no attempt.
    Snooze(Duration),
}

impl Failure {
    /// [`Failure::Retry`] with a reason in words.
    pub fn retry(reason: impl Into<BoxError>) -> Self {
        Self::Retry(reason.into())
    }

    /// [`Failure::Discard`] with a reason in words.
    pub fn discard(reason: impl Into<BoxError>) -> Self {
        Self::Discard(reason.into())
    }

    /// [`Failure::Snooze`].
    #[must_use]
    pub const fn snooze(pause: Duration) -> Self {
        Self::Snooze(pause)
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Retry(Box::new(error))
    }
}

/// What a subscriber may return: `()`, `Result<(), Failure>`, or `Result<(), E>` with any error,
/// also a boxed one; that means "try again later".
#[diagnostic::on_unimplemented(
    message = "a subscriber can't return `{Self}`",
    label = "return `()`, `Result<(), Failure>`, or `Result<(), E>` with any error `E`",
    note = "an error of any type, also a boxed one, means \"try again later\""
)]
pub trait HandlerResult {
    #[doc(hidden)]
    fn into_handler_result(self) -> Result<(), Failure>;
}

impl HandlerResult for () {
    fn into_handler_result(self) -> Result<(), Failure> {
        Ok(())
    }
}

impl HandlerResult for Result<(), Failure> {
    fn into_handler_result(self) -> Self {
        self
    }
}

#[diagnostic::do_not_recommend]
impl<E: Into<BoxError>> HandlerResult for Result<(), E> {
    fn into_handler_result(self) -> Result<(), Failure> {
        self.map_err(|error| Failure::Retry(error.into()))
    }
}

/// A function marked `#[subscribes_to]`, as a type.
///
/// The attribute declares a hidden type with the function's name, so that
/// `Registry::builder().subscriber::<ping_handler>()` names the function.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a subscriber",
    note = "mark the function with `#[subscribes_to(TheEvent)]`"
)]
pub trait SubscriberFunction {
    #[doc(hidden)]
    const SUBSCRIBER: &'static Subscriber;
}
