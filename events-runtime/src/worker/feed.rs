//! Tasks that are leased and not yet started, and how many of them to hold.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::running::Held;

/// Tasks are leased ahead for this long. Longer, and other workers idle while tasks wait here;
/// shorter, and the handlers wait for claims.
const AHEAD: Duration = Duration::from_millis(50);

/// Tasks that wait for longer go back: the handlers have become slow, and others may be free.
const STALE: Duration = Duration::from_secs(1);

/// The most tasks leased ahead.
const MOST: usize = 2048;

/// A queue between claims and handlers, as long as the handlers are fast.
pub(super) struct Feed<R> {
    waiting: VecDeque<Held<R>>,
    fixed: Option<usize>,
    /// How many to lease beyond the free handlers.
    ahead: usize,
    /// Handlers that have ended since the last claim, to know how fast they are.
    ended: usize,
    since: Instant,
    asked: usize,
    /// When the last claim came in.
    filled: Instant,
}

impl<R> Feed<R> {
    pub(super) fn new(fixed: Option<usize>) -> Self {
        Self {
            waiting: VecDeque::new(),
            fixed,
            ahead: fixed.unwrap_or(0),
            ended: 0,
            since: Instant::now(),
            asked: 0,
            filled: Instant::now(),
        }
    }

    pub(super) fn next(&mut self) -> Option<Held<R>> {
        self.waiting.pop_front()
    }

    pub(super) fn ended(&mut self, handlers: usize) {
        self.ended += handlers;
    }

    /// How many tasks to claim, if it is time to: when half of what was leased ahead is used up.
    pub(super) fn claim_size(&mut self, free_handlers: usize) -> Option<usize> {
        if self.waiting.len() * 2 > self.ahead {
            return None;
        }
        self.adapt();
        self.asked = (free_handlers + self.ahead).saturating_sub(self.waiting.len());
        (self.asked > 0).then_some(self.asked)
    }

    /// Leases ahead what the handlers did lately in [`AHEAD`], halfway from what it was.
    fn adapt(&mut self) {
        if self.fixed.is_some() {
            return;
        }
        let elapsed = self.since.elapsed().max(Duration::from_micros(100));
        let lately = self.ended as u128 * AHEAD.as_micros() / elapsed.as_micros();
        let lately = usize::try_from(lately).unwrap_or(MOST).min(MOST);
        self.ahead = match self.ahead {
            0 => lately,
            before => usize::midpoint(before, lately),
        };
        self.ended = 0;
        self.since = Instant::now();
    }

    /// Takes in a claim. Whether it brought all that was asked for.
    pub(super) fn fill(&mut self, tasks: impl Iterator<Item = Held<R>>) -> bool {
        let before = self.waiting.len();
        self.filled = Instant::now();
        self.waiting.extend(tasks);
        self.waiting.len() - before >= self.asked
    }

    /// Whether tasks wait here, and not because the program wants it so.
    pub(super) fn may_go_stale(&self) -> bool {
        self.fixed.is_none() && !self.waiting.is_empty()
    }

    /// When those that wait here are to go back.
    pub(super) fn stale_at(&self) -> tokio::time::Instant {
        (self.filled + STALE).into()
    }

    /// Takes out those of which `which` is true.
    pub(super) fn drain(&mut self, which: impl Fn(&Held<R>) -> bool) -> Vec<Held<R>> {
        let (out, keep): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(which);
        self.waiting = keep.into();
        self.ahead = self.fixed.unwrap_or(0);
        out
    }
}
