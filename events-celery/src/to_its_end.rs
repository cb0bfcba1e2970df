//! What must not stop halfway.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// A future that, once it was polled, runs to its end even if whoever waits for it goes away: on a task of
/// its own then. Until then it costs no switch between threads.
pub(crate) struct ToItsEnd<F: Future<Output: Send> + Send + 'static>(State<F>);

enum State<F> {
    New(Pin<Box<F>>),
    Begun(Pin<Box<F>>),
    /// Or it has panicked.
    Ended,
}

impl<F: Future<Output: Send> + Send + 'static> ToItsEnd<F> {
    pub(crate) fn new(future: F) -> Self {
        Self(State::New(Box::pin(future)))
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for ToItsEnd<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let (State::New(mut future) | State::Begun(mut future)) =
            std::mem::replace(&mut self.0, State::Ended)
        else {
            panic!("polled after its end");
        };
        let poll = future.as_mut().poll(context);
        if poll.is_pending() {
            self.0 = State::Begun(future);
        }
        poll
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for ToItsEnd<F> {
    fn drop(&mut self) {
        // Without a runtime, its end has come too.
        if let State::Begun(future) = std::mem::replace(&mut self.0, State::Ended)
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(future);
        }
    }
}
