//! The names of everything in Redis.

/// Between a queue and its step, and in the members of bindings: kombu's `sep`.
pub(crate) const SEPARATOR: &str = "\u{6}\u{16}";

/// One of the lists of a queue. kombu has four, for the priorities from 0, 3, 6 and 9 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Step(u8);

impl Step {
    /// In the order in which they are served.
    pub(crate) const ALL: [Self; 4] = [Self(0), Self(3), Self(6), Self(9)];

    /// That of a priority. Celery has those from 0 to 9; smaller ones are 0, and larger ones 9.
    pub(crate) fn of(priority: impl Into<i64>) -> Self {
        let priority = priority.into();
        let step = Self::ALL.into_iter().rev().find(|step| i64::from(step.0) <= priority);
        step.unwrap_or(Self(0))
    }

    /// The priority that Celery is told.
    pub(crate) fn priority(priority: i16) -> i16 {
        priority.clamp(0, 9)
    }

    pub(crate) fn number(self) -> u8 {
        self.0
    }

    /// The name of the queue's list, without the prefix.
    pub(crate) fn list(self, queue: &str) -> String {
        match self.0 {
            0 => queue.to_owned(),
            step => format!("{queue}{SEPARATOR}{step}"),
        }
    }
}

/// The names of what kombu and we keep, with the prefix of the fleet.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    /// kombu's `global_keyprefix`.
    pub(crate) prefix: String,
    /// The database, which is in the names of channels: these know none.
    database: i64,
    /// Messages that somebody holds: a hash by tag.
    pub(crate) unacked: String,
    /// Since when, in seconds.
    pub(crate) unacked_index: String,
    /// Held by who restores what lapsed.
    pub(crate) unacked_mutex: String,
    /// Ours: the tags of messages that wait for their time, by it, in microseconds.
    pub(crate) scheduled: String,
    /// Ours: by when a debounced task must be handled, by tag.
    pub(crate) quiet: String,
    /// Ours: the live workers.
    pub(crate) workers: String,
    /// Ours: workers that are gone and whose messages are not all offered again.
    pub(crate) gone: String,
    /// Ours: dead letters, by task.
    pub(crate) dead: String,
    /// Ours: the tasks of the dead letters, by when they died.
    pub(crate) dead_index: String,
    /// Ours: when reconcilers ran.
    pub(crate) reconcilers: String,
}

impl Keys {
    pub(crate) fn new(prefix: &str, database: i64) -> Self {
        let key = |name: &str| format!("{prefix}{name}");
        Self {
            prefix: prefix.to_owned(),
            database,
            unacked: key("unacked"),
            unacked_index: key("unacked_index"),
            unacked_mutex: key("unacked_mutex"),
            scheduled: key("events:scheduled"),
            quiet: key("events:quiet"),
            workers: key("events:workers"),
            gone: key("events:gone"),
            dead: key("events:dead"),
            dead_index: key("events:dead_index"),
            reconcilers: key("events:reconcilers"),
        }
    }

    pub(crate) fn list(&self, queue: &str, step: Step) -> String {
        format!("{}{}", self.prefix, step.list(queue))
    }

    /// The queues of an exchange.
    pub(crate) fn binding(&self, exchange: &str) -> String {
        format!("{}_kombu.binding.{exchange}", self.prefix)
    }

    /// The same, of those that do not expire: since kombu 5.7.
    pub(crate) fn permanent_binding(&self, exchange: &str) -> String {
        format!("{}_kombu.binding_permanent.{exchange}", self.prefix)
    }

    /// A channel on which every one that listens hears what is sent.
    pub(crate) fn fanout(&self, exchange: &str) -> String {
        format!("{}/{}.{exchange}", self.prefix, self.database)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_fall_on_kombus_steps() {
        let steps: Vec<_> =
            [-5, 0, 2, 3, 5, 6, 8, 9, 100].map(|p: i16| Step::of(p).number()).into();
        assert_eq!(steps, [0, 0, 0, 3, 3, 6, 6, 9, 9]);
    }

    #[test]
    fn prefix_is_in_front_of_everything() {
        let keys = Keys::new("acme:", 3);
        assert_eq!(keys.list("mail", Step::of(4)), "acme:mail\u{6}\u{16}3");
        assert_eq!(keys.fanout("celery.pidbox"), "acme:/3.celery.pidbox");
        assert_eq!(keys.unacked, "acme:unacked");
    }
}
