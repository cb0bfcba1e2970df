//! Tells those who wait that there may be new tasks.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Counts the changes that may have brought tasks, and wakes those who wait for the next.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    changes: AtomicU64,
    changed: Notify,
    waiting: AtomicUsize,
    wanted: Notify,
    /// Keeps one permit: many changes of this process are one announcement.
    announced: Notify,
    /// Likewise, for commits that are not seen.
    expected: Notify,
}

impl Signal {
    /// The number of changes so far.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// There may be new tasks, because of this process: others are told too.
    pub(crate) fn notify(&self) {
        self.hear();
        self.announced.notify_one();
    }

    /// Others will commit tasks soon that were written here.
    pub(crate) fn expect_commit(&self) {
        self.expected.notify_one();
    }

    /// Resolves when there is something to tell other processes.
    #[cfg(feature = "postgres")]
    pub(crate) async fn announcement(&self) {
        self.announced.notified().await;
    }

    /// Resolves when a commit is expected.
    #[cfg(feature = "postgres")]
    pub(crate) async fn expectation(&self) {
        self.expected.notified().await;
    }

    /// There may be new tasks.
    pub(crate) fn hear(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// Resolves when the number of changes is not `seen` any more, with the number that it is.
    pub(crate) async fn changed_since(&self, seen: u64) -> u64 {
        loop {
            // Enlisted before the look, so that no change falls between the two.
            let mut next = std::pin::pin!(self.changed.notified());
            next.as_mut().enable();
            let changes = self.changes();
            if changes != seen {
                return changes;
            }
            let _waiting = Waiting::new(self);
            next.await;
        }
    }

    /// Resolves while there is someone who waits.
    #[cfg(feature = "sqlite")] // whose workers look for commits only while somebody waits
    pub(crate) async fn wanted(&self) {
        while self.waiting.load(Ordering::SeqCst) == 0 {
            // A permit is kept for whoever comes late, so this cannot miss the first one.
            self.wanted.notified().await;
        }
    }
}

struct Waiting<'s>(&'s Signal);

impl<'s> Waiting<'s> {
    fn new(signal: &'s Signal) -> Self {
        if signal.waiting.fetch_add(1, Ordering::SeqCst) == 0 {
            signal.wanted.notify_one();
        }
        Self(signal)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}
