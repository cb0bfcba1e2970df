//! The task that is being executed, for the handler that executes it.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use event_listener::Event as Signal;
use pin_project_lite::pin_project;

use crate::clock::Timestamp;
use crate::event::{EventId, TaskId};
use crate::task::{Headers, Name};

/// What a handler may know about the task it executes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TaskContext(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    event_id: EventId,
    task_id: TaskId,
    task_name: Name,
    queue: Name,
    attempt: u32,
    published_at: Timestamp,
    headers: Headers,
    cancellation: Cancellation,
}

impl TaskContext {
    /// The context of one attempt at `task`.
    #[must_use]
    pub fn new(task: &crate::task::Task, attempt: u32, cancellation: Cancellation) -> Self {
        Self(Arc::new(Inner {
            event_id: task.event_id,
            task_id: task.id,
            task_name: task.name.clone(),
            queue: task.queue.clone(),
            attempt,
            published_at: task.published_at,
            headers: task.headers.clone(),
            cancellation,
        }))
    }

    /// The event, as `publish_after_commit` returned it.
    #[must_use]
    pub fn event_id(&self) -> EventId {
        self.0.event_id
    }

    /// The task.
    #[must_use]
    pub fn task_id(&self) -> TaskId {
        self.0.task_id
    }

    /// The name of the task, as it was sent. For a task sent under an alias, the alias.
    #[must_use]
    pub fn task_name(&self) -> &str {
        &self.0.task_name
    }

    /// The queue the task came from.
    #[must_use]
    pub fn queue(&self) -> &str {
        &self.0.queue
    }

    /// The number of this attempt; the first is 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// When the event was published.
    #[must_use]
    pub fn published_at(&self) -> Timestamp {
        self.0.published_at
    }

    /// A header that travels with the task, such as `traceparent`.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.0.headers.get(name)
    }

    /// Set when this attempt is to stop: its time is up, the grace period of a shutdown is over, or
    /// the lease is lost.
    ///
    /// An async handler is dropped then. A sync one cannot be, and should look: it is waited for, or
    /// runs on beside the next attempt once its time is up.
    #[must_use]
    pub fn cancellation(&self) -> &Cancellation {
        &self.0.cancellation
    }
}

/// A request to stop, as those see it who are to stop. Clones share it.
#[derive(Debug, Clone)]
pub struct Cancellation(Arc<Cancel>);

/// A request to stop, as those see it who may make it. Clones share it.
///
/// For runtimes; handlers get the [`Cancellation`].
#[derive(Debug, Clone, Default)]
pub struct CancellationSource(Arc<Cancel>);

#[derive(Debug, Default)]
struct Cancel {
    requested: AtomicBool,
    signal: Signal,
}

impl CancellationSource {
    /// A request that nobody has made yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What to give to those who are to stop.
    #[must_use]
    pub fn token(&self) -> Cancellation {
        Cancellation(self.0.clone())
    }

    /// Makes the request. Making it again changes nothing.
    pub fn cancel(&self) {
        self.0.requested.store(true, Ordering::SeqCst);
        self.0.signal.notify(usize::MAX);
    }
}

impl Cancellation {
    /// Whether the request was made.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.requested.load(Ordering::SeqCst)
    }

    /// Waits until the request is made.
    pub async fn cancelled(&self) {
        while !self.is_cancelled() {
            let listener = self.0.signal.listen();
            // The request may have come between the check and the listening.
            if self.is_cancelled() {
                return;
            }
            listener.await;
        }
    }
}

thread_local! {
    static CURRENT: RefCell<Option<TaskContext>> = const { RefCell::new(None) };
}

/// The id of the event whose handler is running, if one is.
///
/// It holds in sync and async handlers and across `.await`. Work that the handler spawns onto
/// other threads or tasks does not inherit it; hand it the id.
#[must_use]
pub fn current_event_id() -> Option<EventId> {
    with_current(|context| context.map(TaskContext::event_id))
}

pub(crate) fn with_current<R>(read: impl FnOnce(Option<&TaskContext>) -> R) -> R {
    CURRENT.with(|current| read(current.borrow().as_ref()))
}

/// Restores, on drop, what was current before; so neither a panic nor a nested task leaks.
struct Entered<'c> {
    outer: &'c mut Option<TaskContext>,
}

impl<'c> Entered<'c> {
    fn enter(context: &'c mut Option<TaskContext>) -> Self {
        CURRENT.with(|current| std::mem::swap(&mut *current.borrow_mut(), context));
        Self { outer: context }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        CURRENT.with(|current| std::mem::swap(&mut *current.borrow_mut(), self.outer));
    }
}

/// Runs a blocking handler as the current task.
pub fn in_task<R>(context: TaskContext, handler: impl FnOnce() -> R) -> R {
    let mut context = Some(context);
    let _entered = Entered::enter(&mut context);
    handler()
}

pin_project! {
    /// A future for which [`current_event_id`] and everything else about the current task holds.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct InTask<F> {
        #[pin]
        future: F,
        context: Option<TaskContext>,
    }
}

impl<F> InTask<F> {
    /// Runs `future` as the execution of the task that `context` describes.
    pub fn new(context: TaskContext, future: F) -> Self {
        Self { future, context: Some(context) }
    }
}

impl<F: Future> Future for InTask<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _entered = Entered::enter(this.context);
        this.future.poll(cx)
    }
}
