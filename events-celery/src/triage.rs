//! What to do with a message that was claimed: a pure function.

use std::time::Duration;

use events_core::subscriber::Subscriber;
use events_core::{Registry, Timestamp};

use crate::end::Dropped;
use crate::message::{Message, Unreadable};

/// A message that nobody here may run is put back so often before it is a dead letter: with the pauses in
/// between, for about an hour. Others may be busy, or not yet deployed.
pub(crate) const MOST_RETURNS: u32 = 120;

/// How long it is kept from being offered again to others on a shared queue: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What becomes of a message.
#[derive(Debug)]
pub(crate) enum Fate {
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

/// What is known when it is decided.
pub(crate) struct Triage<'t> {
    pub(crate) registry: &'static Registry,
    pub(crate) now: Timestamp,
    /// The queue is shared with workers in Python.
    pub(crate) shared: bool,
    /// The pause for names that this program does not know, if the queue is not shared.
    pub(crate) own_queue_pause: Duration,
    pub(crate) is_revoked: &'t dyn Fn(&str) -> bool,
}

impl Triage<'_> {
    pub(crate) fn of(&self, message: &Message) -> Fate {
        if (self.is_revoked)(&message.id) {
            return Fate::Drop { why: Dropped::Revoked };
        }
        if message.has_expired(self.now) {
            return Fate::Drop { why: Dropped::Expired };
        }
        let Some(subscriber) = self.registry.subscriber(&message.name) else {
            let reason =
                format!("no subscriber of this program has the task's name `{}`", message.name);
            let pause = match self.shared {
                true => growing_pause(message.returned),
                false => self.own_queue_pause,
            };
            return put_back(message.returned, reason, pause);
        };
        if message.workflow {
            let reason = "other tasks hang on it (link, chain, group or chord), which this worker does not start; have a worker in Python run it, or publish an event at its end instead";
            return self.leave_to_others(message.returned, reason.into());
        }
        match message.eta.filter(|eta| *eta > self.now) {
            Some(eta) => Fate::Wait(eta),
            None => Fate::Run(subscriber),
        }
    }

    /// The same for a message that cannot be read.
    pub(crate) fn of_unreadable(&self, unreadable: &Unreadable, returned: u32) -> Fate {
        let reason = unreadable.reason.clone();
        match unreadable.others_may {
            true => self.leave_to_others(returned, reason),
            false => Fate::Bury { reason },
        }
    }

    /// Somebody else may be able to run it, if somebody else is there.
    fn leave_to_others(&self, returned: u32, reason: String) -> Fate {
        match self.shared {
            true => put_back(returned, reason, growing_pause(returned)),
            false => Fate::Bury { reason },
        }
    }
}

fn put_back(returned: u32, reason: String, pause: Duration) -> Fate {
    if returned >= MOST_RETURNS {
        return Fate::Bury {
            reason: format!("{reason}; it was put back {returned} times and nobody ran it"),
        };
    }
    Fate::Return { reason, pause }
}

fn growing_pause(returned: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << returned.min(10)).min(LONGEST_PAUSE)
}
