//! Tasks that are leased and not yet started, and how many of them to hold.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::running::Held;

/// Tasks are leased ahead for this long. Longer, and other workers idle while tasks wait here;
/// shorter, and the handlers wait for claims.
const AHEAD: Duration = Duration::from_millis(50);

/// Tasks that wait for longer go back: the handlers have become slow, and others may be free.
const STALE: Duration = Duration::from_secs(1);

/// The most tasks leased ahead.
const MOST: usize = 2048;

/// A queue between claims and handlers, as long as the handlers are fast. The handlers take from it
/// by themselves: the worker's loop, which has to be woken, need not stand between two tasks.
pub(super) struct Feed<R> {
    waiting: Mutex<Waiting<R>>,
    /// Half of what was leased ahead is used up.
    runs_low: Notify,
}

struct Waiting<R> {
    tasks: VecDeque<Held<R>>,
    fixed: Option<usize>,
    /// How many to lease beyond the free handlers.
    ahead: usize,
    /// Tasks that were started since the last claim, to know how fast the handlers are.
    started: usize,
    since: Instant,
    asked: usize,
    /// When the last claim came in.
    filled: Instant,
}

impl<R> Feed<R> {
    pub(super) fn new(fixed: Option<usize>) -> Self {
        let waiting = Waiting {
            tasks: VecDeque::new(),
            fixed,
            ahead: fixed.unwrap_or(0),
            started: 0,
            since: Instant::now(),
            asked: 0,
            filled: Instant::now(),
        };
        Self { waiting: Mutex::new(waiting), runs_low: Notify::new() }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<R>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the task that is to be started next.
    pub(super) fn next(&self) -> Option<Held<R>> {
        let mut waiting = self.waiting();
        let was_low = waiting.is_low();
        let next = waiting.tasks.pop_front()?;
        waiting.started += 1;
        let is_low = waiting.is_low();
        drop(waiting);
        if is_low && !was_low {
            self.runs_low.notify_one();
        }
        Some(next)
    }

    /// Waits until half of what was leased ahead is used up. Returns once for each time.
    pub(super) async fn runs_low(&self) {
        self.runs_low.notified().await;
    }

    pub(super) fn len(&self) -> usize {
        self.waiting().tasks.len()
    }

    /// How many tasks to claim, if it is time to: when half of what was leased ahead is used up.
    pub(super) fn claim_size(&self, free_handlers: usize) -> Option<usize> {
        let mut waiting = self.waiting();
        if !waiting.is_low() {
            return None;
        }
        waiting.adapt();
        waiting.asked = (free_handlers + waiting.ahead).saturating_sub(waiting.tasks.len());
        (waiting.asked > 0).then_some(waiting.asked)
    }

    /// Takes in a claim. Whether it brought all that was asked for.
    pub(super) fn fill(&self, tasks: impl ExactSizeIterator<Item = Held<R>>) -> bool {
        let mut waiting = self.waiting();
        let full = tasks.len() >= waiting.asked;
        waiting.filled = Instant::now();
        waiting.tasks.extend(tasks);
        full
    }

    /// When the tasks that wait here are to go back; `None` if there are none, or the program wants
    /// them here.
    pub(super) fn stale_at(&self) -> Option<tokio::time::Instant> {
        let waiting = self.waiting();
        let may_go_stale = waiting.fixed.is_none() && !waiting.tasks.is_empty();
        may_go_stale.then(|| (waiting.filled + STALE).into())
    }

    /// Takes out those of which `which` is true.
    pub(super) fn drain(&self, which: impl Fn(&Held<R>) -> bool) -> Vec<Held<R>> {
        let mut waiting = self.waiting();
        let tasks = std::mem::take(&mut waiting.tasks);
        let (out, keep): (Vec<_>, Vec<_>) = tasks.into_iter().partition(which);
        waiting.tasks = keep.into();
        waiting.ahead = waiting.fixed.unwrap_or(0);
        out
    }
}

impl<R> Waiting<R> {
    fn is_low(&self) -> bool {
        self.tasks.len() * 4 <= self.ahead * 3
    }

    /// Leases ahead what the handlers did lately in [`AHEAD`], halfway from what it was.
    fn adapt(&mut self) {
        if self.fixed.is_some() {
            return;
        }
        let elapsed = self.since.elapsed().max(Duration::from_micros(100));
        let lately = self.started as u128 * AHEAD.as_micros() / elapsed.as_micros();
        let lately = usize::try_from(lately).unwrap_or(MOST).min(MOST);
        self.ahead = match self.ahead {
            0 => lately,
            before => usize::midpoint(before, lately),
        };
        self.started = 0;
        self.since = Instant::now();
    }
}
