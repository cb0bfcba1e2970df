//! Futures that are dropped at every await.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

/// How a future is dropped: after so many polls, at once or when it was woken once more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cancel {
    polls: usize,
    woken: bool,
}

/// Every way to drop a future that is polled at most a few times, several times over: what the
/// other side has done by then differs.
pub(crate) fn cancellations() -> impl Iterator<Item = Cancel> {
    let each = (0..8).flat_map(|polls| [true, false].map(|woken| Cancel { polls, woken }));
    std::iter::repeat_n(each, 6).flatten()
}

pub(crate) async fn cancel<F: Future>(
    future: F,
    Cancel { polls, woken }: Cancel,
) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        let polled = future.as_mut().poll(context).map(Some);
        if left == 0 && !woken {
            context.waker().wake_by_ref();
        }
        polled
    })
    .await
}
