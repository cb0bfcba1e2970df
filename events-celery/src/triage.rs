//! What to do with a message that was claimed: a pure function.

use std::time::Duration;

use events_core::subscriber::Subscriber;
use events_core::{Registry, Timestamp};

use crate::message::{Message, Unreadable};
use crate::settle::Dropped;

/// A message that nobody here may run is put back so often before it is a dead letter: with the pauses in
/// between, for about an hour. Others may be busy, or not yet deployed.
const MOST_RETURNS: u32 = 120;

/// How long it is kept from being offered again, at first.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What becomes of a message.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It is to be run.
    Run(&'static Subscriber),
    /// Its time has not come.
    Wait(Timestamp),
    /// It is put back, to be offered again after a pause: others may run it.
    Return { reason: String, pause: Duration },
    /// Nobody can run it.
    Bury { reason: String },
    /// Nobody is to run it any more.
    Drop { why: Dropped },
}

/// What is known when a message is judged.
pub(crate) struct Court<'c> {
    pub(crate) registry: &'static Registry,
    pub(crate) now: Timestamp,
    /// The queue is shared with workers in Python.
    pub(crate) shared: bool,
    /// The pause for names that this program does not know.
    pub(crate) unknown_pause: Duration,
    pub(crate) is_revoked: &'c dyn Fn(&str) -> bool,
}

impl Court<'_> {
    pub(crate) fn judge(&self, message: &Message) -> Verdict {
        if (self.is_revoked)(&message.id) {
            return Verdict::Drop { why: Dropped::Revoked };
        }
        if message.expires.is_some_and(|expires| expires <= self.now) {
            return Verdict::Drop { why: Dropped::Expired };
        }
        let Some(subscriber) = self.registry.subscriber(&message.name) else {
            let reason =
                format!("no subscriber of this program has the task's name `{}`", message.name);
            return self.hand_back(message.returned, reason, self.unknown_pause);
        };
        if message.workflow {
            let reason = "other tasks hang on it (link, chain, group or chord), which this worker does not start; have a worker in Python run it, or publish an event at its end instead";
            return match self.shared {
                true => self.hand_back(message.returned, reason.into(), FIRST_PAUSE),
                false => Verdict::Bury { reason: reason.into() },
            };
        }
        match message.eta.filter(|eta| *eta > self.now) {
            Some(eta) => Verdict::Wait(eta),
            None => Verdict::Run(subscriber),
        }
    }

    /// The same for a message that cannot be read.
    pub(crate) fn judge_unreadable(&self, unreadable: &Unreadable, returned: u32) -> Verdict {
        match self.shared && unreadable.others_may {
            true => self.hand_back(returned, unreadable.reason.clone(), FIRST_PAUSE),
            false => Verdict::Bury { reason: unreadable.reason.clone() },
        }
    }

    fn hand_back(&self, returned: u32, reason: String, longest_first: Duration) -> Verdict {
        if returned >= MOST_RETURNS {
            return Verdict::Bury {
                reason: format!("{reason}; it was put back {returned} times and nobody ran it"),
            };
        }
        let growing = FIRST_PAUSE.saturating_mul(1 << returned.min(10)).min(LONGEST_PAUSE);
        let pause = if self.shared { growing } else { longest_first };
        Verdict::Return { reason, pause }
    }
}
