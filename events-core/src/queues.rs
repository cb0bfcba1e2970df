//! Sets of queues.

use std::collections::BTreeSet;
use std::fmt;

/// Which queues a worker serves.
///
/// ```
/// # use events_core::Queues;
/// let queues = Queues::all().except(["slow"]);
/// assert!(queues.contains("events") && !queues.contains("slow"));
/// assert!(!Queues::only(["mail"]).contains("events"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Queues {
    named: BTreeSet<String>,
    /// Whether `named` are the ones to leave out.
    inverted: bool,
}

impl Queues {
    /// All queues, also those that appear later.
    #[must_use]
    pub fn all() -> Self {
        Self { named: BTreeSet::new(), inverted: true }
    }

    /// No queue.
    #[must_use]
    pub fn none() -> Self {
        Self { named: BTreeSet::new(), inverted: false }
    }

    /// These queues.
    #[must_use]
    pub fn only<Q: Into<String>>(queues: impl IntoIterator<Item = Q>) -> Self {
        Self { named: queues.into_iter().map(Into::into).collect(), inverted: false }
    }

    /// These but not those.
    #[must_use]
    pub fn except<Q: Into<String>>(mut self, queues: impl IntoIterator<Item = Q>) -> Self {
        for queue in queues.into_iter().map(Into::into) {
            if self.inverted {
                self.named.insert(queue);
            } else {
                self.named.remove(&queue);
            }
        }
        self
    }

    /// Whether this queue is served.
    #[must_use]
    pub fn contains(&self, queue: &str) -> bool {
        self.named.contains(queue) != self.inverted
    }

    /// These and those.
    pub(crate) fn union(&self, others: &Self) -> Self {
        let (a, b) = (&self.named, &others.named);
        match (self.inverted, others.inverted) {
            (false, false) => Self { named: a | b, inverted: false },
            (false, true) => Self { named: b - a, inverted: true },
            (true, false) => Self { named: a - b, inverted: true },
            (true, true) => Self { named: a & b, inverted: true },
        }
    }

    /// These without those.
    #[must_use]
    pub fn without(&self, others: &Self) -> Self {
        let (a, b) = (&self.named, &others.named);
        match (self.inverted, others.inverted) {
            (false, false) => Self { named: a - b, inverted: false },
            (false, true) => Self { named: a & b, inverted: false },
            (true, false) => Self { named: a | b, inverted: true },
            (true, true) => Self { named: b - a, inverted: false },
        }
    }

    /// A queue that is among these and those; a star if nearly every queue is.
    pub(crate) fn common(&self, others: &Self) -> Option<String> {
        let both = self.without(&Self { inverted: !others.inverted, ..others.clone() });
        match both.inverted {
            true => Some("*".into()),
            false => both.named.into_iter().next(),
        }
    }

    /// The queues, if they are a fixed list; `None` for all (but some).
    #[must_use]
    pub fn fixed(&self) -> Option<&BTreeSet<String>> {
        (!self.inverted).then_some(&self.named)
    }
}

/// For people: `all`, `all but mail`, `mail, reports`, `none`.
impl fmt::Display for Queues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.named.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        match (self.inverted, named.is_empty()) {
            (true, true) => f.write_str("all"),
            (true, false) => write!(f, "all but {named}"),
            (false, true) => f.write_str("none"),
            (false, false) => f.write_str(&named),
        }
    }
}

impl Default for Queues {
    fn default() -> Self {
        Self::all()
    }
}

#[cfg(test)]
mod tests {
    use super::Queues;

    #[test]
    fn queues_are_shown_for_people() {
        for (queues, shown) in [
            (Queues::all(), "all"),
            (Queues::all().except(["b", "a"]), "all but a, b"),
            (Queues::only(["mail", "a"]), "a, mail"),
            (Queues::none(), "none"),
        ] {
            assert_eq!(queues.to_string(), shown);
        }
    }

    #[test]
    fn sets_of_queues_are_joined_and_taken_apart_whichever_way_they_are_written() {
        let sets = [
            Queues::all(),
            Queues::all().except(["a"]),
            Queues::all().except(["a", "b"]),
            Queues::only(["a"]),
            Queues::only(["a", "b"]),
            Queues::none(),
        ];
        for (one, other) in sets.iter().flat_map(|one| sets.iter().map(move |other| (one, other))) {
            let mut overlap = false;
            for queue in ["a", "b", "c"] {
                let (in_one, in_other) = (one.contains(queue), other.contains(queue));
                assert_eq!(one.union(other).contains(queue), in_one || in_other);
                assert_eq!(one.without(other).contains(queue), in_one && !in_other);
                overlap |= in_one && in_other;
            }
            assert_eq!(one.common(other).is_some(), overlap, "{one:?} {other:?}");
        }
    }
}
