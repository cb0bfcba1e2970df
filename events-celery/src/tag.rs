//! The tags under which messages lie in `unacked`.
//!
//! ```text
//! rs.<worker>.<claim>.<message>        a message that a worker holds
//! eta.<its last tag>.<step>|<queue>    one that waits for its time
//! back.<its last tag>.<step>|<queue>   one that is put back for others, and waits a while
//! again.<key>.<step>|<queue>           a debounced task that failed, and is tried again
//! quiet.<key>.<step>|<queue>           a debounced task that waits until its key is quiet
//! ```
//!
//! Any other is one of kombu's. The scripts know ours too, and change with them: `claim.lua` numbers what it
//! hands out, takes step and queue from the end of what waits, puts `back` on its list last, and has `quiet`
//! take the place of `again`; `settle.lua` takes the queue from the end too, and makes `eta` of an `again`
//! whose place is taken.

use std::fmt;

use crate::keys::Step;

/// What is under a tag of ours: its first word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Held,
    Eta,
    Back,
    Again,
    Quiet,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Held, Self::Eta, Self::Back, Self::Again, Self::Quiet];

    /// Nothing if the tag is none of ours.
    pub(crate) fn of(tag: &str) -> Option<Self> {
        let (word, _) = tag.split_once('.')?;
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Held => "rs",
            Self::Eta => "eta",
            Self::Back => "back",
            Self::Again => "again",
            Self::Quiet => "quiet",
        }
    }

    /// The tag of a message that waits, and goes to this list then: `of` is the tag that it had, or the key
    /// of a debounced task.
    pub(crate) fn waiting(self, of: &str, step: Step, queue: &str) -> String {
        format!("{}.{of}.{}|{queue}", self.word(), step.number())
    }
}

/// How all begin that a worker holds.
pub(crate) fn of_worker(worker: impl fmt::Display) -> String {
    format!("{}.{worker}.", Kind::Held.word())
}

/// The most messages that one claim takes: what its script gives to one command must fit into Lua's stack.
pub(crate) const MOST_IN_CLAIM: usize = 1000;

/// How all begin that one claim took, before a dot. As long as no answer has come, nobody knows how many.
pub(crate) fn of_claim(worker: impl fmt::Display, claim: u64) -> String {
    format!("{}{claim}", of_worker(worker))
}

pub(crate) fn is_of_claim(tag: &str, claim: &str) -> bool {
    tag.strip_prefix(claim).is_some_and(|rest| rest.starts_with('.'))
}

/// That of a message of a claim; the first is 1.
pub(crate) fn of_message(claim: &str, number: usize) -> String {
    format!("{claim}.{number}")
}

/// The number of the claim that has this tag, or of which a message has it; and of the message, the first
/// of which is 1.
pub(crate) fn place(tag: &str) -> (u64, u64) {
    let mut numbers = tag.split('.').skip(2).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// A pattern for what workers in Rust hold.
pub(crate) fn all_held() -> String {
    format!("{}.*", Kind::Held.word())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_a_tag_is_known_by_its_beginning() {
        let held = of_message(&of_claim("worker", 7), 12);
        assert_eq!((&*held, place(&held)), ("rs.worker.7.12", (7, 12)));
        assert_eq!(place("rs.worker.7"), (7, 0));
        assert!(held.starts_with(&of_worker("worker")) && Kind::of(&held) == Some(Kind::Held));
        assert!(is_of_claim(&held, "rs.worker.7"));
        assert!(
            !is_of_claim(&held, "rs.worker.7.12") && !is_of_claim("rs.worker.70.1", "rs.worker.7")
        );
        let step = Step::of(4);
        for kind in Kind::ALL {
            assert_eq!(Kind::of(&kind.waiting(&held, step, "mail")), Some(kind));
        }
        assert_eq!(Kind::Back.waiting(&held, step, "a.b|c"), "back.rs.worker.7.12.3|a.b|c");
        for of_kombu in ["3ac9c12d-8168-4d02-a866-f48adad00016", "", "eta", "etas.1"] {
            assert_eq!(Kind::of(of_kombu), None, "{of_kombu}");
        }
    }
}
