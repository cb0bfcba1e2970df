//! The names of everything in Redis.

use std::fmt;

/// Between a queue and its step, and in the members of bindings: kombu's `sep`.
const SEPARATOR: &str = "\u{6}\u{16}";

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

/// A queue that is bound to an exchange: one member of a binding's set, as kombu writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Binding<'b> {
    pub(crate) routing_key: &'b str,
    /// Whether it is one of a topic exchange, where the key has wildcards.
    pub(crate) is_topic: bool,
    pub(crate) queue: &'b str,
}

impl<'b> Binding<'b> {
    /// That of a direct exchange.
    pub(crate) fn direct(routing_key: &'b str, queue: &'b str) -> Self {
        Self { routing_key, is_topic: false, queue }
    }

    /// Nothing if it is none.
    pub(crate) fn read(member: &'b str) -> Option<Self> {
        let mut parts = member.split(SEPARATOR);
        let (routing_key, pattern, queue) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self { routing_key, is_topic: !pattern.is_empty(), queue })
    }

    /// Whether messages with this routing key are for the queue.
    pub(crate) fn takes(&self, routing_key: &str) -> bool {
        match self.is_topic {
            true => fits(self.routing_key, routing_key),
            false => self.routing_key == routing_key,
        }
    }
}

/// As kombu's regular expressions do it: `#` stands for anything, and `*` for anything that does not end in
/// a dot, which may be more than one word.
fn fits(topic: &str, key: &str) -> bool {
    let (word, rest) = match topic.split_once('.') {
        Some((word, rest)) => (word, Some(rest)),
        None => (topic, None),
    };
    let mut ends = (0..=key.len()).filter_map(|end| key.split_at_checked(end));
    ends.any(|(start, end)| {
        let is_word = match word {
            "#" => true,
            "*" => !start.is_empty() && !start.ends_with('.'),
            word => start == word,
        };
        is_word
            && match rest {
                Some(rest) => end.strip_prefix('.').is_some_and(|key| fits(rest, key)),
                None => end.is_empty(),
            }
    })
}

/// The member of a direct exchange.
impl fmt::Display for Binding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{SEPARATOR}{SEPARATOR}{}", self.routing_key, self.queue)
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

    #[test]
    fn bindings_are_read_as_they_are_written() {
        let direct = Binding::direct("of-mail", "mail");
        assert_eq!(direct.to_string(), "of-mail\u{6}\u{16}\u{6}\u{16}mail");
        assert_eq!(Binding::read(&direct.to_string()), Some(direct));
        assert_eq!(Binding::read("of-mail\u{6}\u{16}"), None);
        assert!(direct.takes("of-mail") && !direct.takes("of-mail.too"));
    }

    #[test]
    fn topics_match_as_the_regular_expressions_of_kombu() {
        for (topic, taken, refused) in [
            ("a.b", &["a.b"][..], &["a", "a.bc", "a.b.c", ""][..]),
            ("a.*", &["a.b", "a.b.c"], &["a", "a.", "a.b.", "b.a"]),
            ("*.b", &["a.b", "x.a.b"], &["b", ".b", "a..b", "a.b.c"]),
            ("a.#", &["a.", "a.b", "a.b.c."], &["a", "b.a"]),
            ("#", &["", "a", "a.b", "é.ö"], &[]),
            ("a.#.z", &["a.b.z", "a.b.c.z", "a..z"], &["a.z", "a.b.c"]),
        ] {
            assert!(taken.iter().all(|key| fits(topic, key)), "{topic}");
            assert!(!refused.iter().any(|key| fits(topic, key)), "{topic}");
        }
    }
}
