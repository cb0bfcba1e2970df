//! Which tasks go elsewhere than to the database, and how.

use std::sync::Arc;

use crate::broker::Queues;
use crate::events::Events;
use crate::outbox::DEFAULT_OUTBOX;
use crate::task::{Name, Task};
use crate::transport::{ErasedTransport, Transport};

/// Sends the tasks of some queues elsewhere than to the database. Given when a queue is opened.
///
/// As a rule the queues are those whose handlers are in other programs,
/// [`Events::foreign_queues`].
///
/// ```
/// # use events_core::{Forwarding, Queues};
/// let forwarding = Forwarding::outbox(Queues::only(["fides"]));
/// assert!(forwarding.queues().contains("fides"));
/// ```
#[derive(Debug, Clone)]
pub struct Forwarding {
    queues: Queues,
    way: Way,
}

#[derive(Debug, Clone)]
enum Way {
    Outbox(Name),
    AfterCommit(Arc<dyn ErasedTransport>),
}

impl Forwarding {
    /// Through the outbox: the tasks are rows of the publisher's transaction, and a relay sends
    /// them, at least once and in order. Nothing is lost, whatever dies.
    #[must_use]
    pub fn outbox(queues: Queues) -> Self {
        Self::named_outbox(DEFAULT_OUTBOX, queues)
    }

    /// Through an outbox of this name, where there are several: each has a relay of its own, so that
    /// a broker that is away does not hold up another's tasks.
    ///
    /// An outbox that is to be drained and not filled any more has no queues, [`Queues::none`].
    #[must_use]
    pub fn named_outbox(name: impl Into<String>, queues: Queues) -> Self {
        Self { queues, way: Way::Outbox(Name::Owned(name.into())) }
    }

    /// Straight to the transport, once the commit has succeeded.
    ///
    /// Fast, and without a relay. But a process that dies between the commit and the send, or a
    /// broker that is away then, loses the tasks: only for what a reconciler repairs.
    #[must_use]
    pub fn after_commit(queues: Queues, transport: impl Transport) -> Self {
        Self { queues, way: Way::AfterCommit(Arc::new(transport)) }
    }

    /// The queues whose tasks are forwarded.
    #[must_use]
    pub fn queues(&self) -> &Queues {
        &self.queues
    }
}

/// All forwardings of a queue, for adapters. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Forwardings(Arc<[Forwarding]>);

impl Forwardings {
    /// Checks that no queue is forwarded twice.
    ///
    /// # Errors
    /// Two forwardings have a queue in common.
    pub fn new(forwardings: Vec<Forwarding>) -> Result<Self, ForwardingError> {
        for (index, forwarding) in forwardings.iter().enumerate() {
            let mut others = forwardings[..index].iter();
            if let Some(queue) = others.find_map(|other| other.queues.common(&forwarding.queues)) {
                return Err(ForwardingError::Overlap { queue });
            }
        }
        Ok(Self(forwardings.into()))
    }

    /// Tells of subscribers in other programs whose tasks are not forwarded, when a queue is opened.
    ///
    /// Another program may well serve their queues in this database. In a program that forwards others
    /// it is more likely forgotten.
    pub fn tell_unforwarded(&self, events: &Events) {
        for subscriber in events.registry().foreign_subscribers() {
            let queue = subscriber.queue(events.settings());
            if self.of(queue).is_some() {
                continue;
            }
            if self.is_empty() {
                tracing::info!(
                    subscriber = subscriber.task,
                    queue,
                    "tasks of a handler in another program wait in this database for a worker of it"
                );
            } else {
                tracing::warn!(
                    subscriber = subscriber.task,
                    queue,
                    "tasks of a handler in another program are not forwarded, as those of others are: they wait in this database for a worker of it; is its queue missing from the forwardings?"
                );
            }
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The queues whose tasks are forwarded, of all forwardings.
    #[must_use]
    pub fn queues(&self) -> Queues {
        self.0.iter().fold(Queues::none(), |all, forwarding| all.union(&forwarding.queues))
    }

    /// The names of the outboxes, sorted, each once.
    #[must_use]
    pub fn outboxes(&self) -> Vec<Name> {
        let mut names: Vec<_> = self
            .0
            .iter()
            .filter_map(|forwarding| match &forwarding.way {
                Way::Outbox(name) => Some(name.clone()),
                Way::AfterCommit(_) => None,
            })
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The outbox of this queue, if its tasks go through one.
    #[must_use]
    pub fn outbox_of(&self, queue: &str) -> Option<&Name> {
        match &self.of(queue)?.way {
            Way::Outbox(name) => Some(name),
            Way::AfterCommit(_) => None,
        }
    }

    /// Whether the forwarding of this queue names it, rather than all but some.
    #[must_use]
    pub fn name_it(&self, queue: &str) -> bool {
        self.of(queue).is_some_and(|forwarding| forwarding.queues.fixed().is_some())
    }

    fn of(&self, queue: &str) -> Option<&Forwarding> {
        self.0.iter().find(|forwarding| forwarding.queues.contains(queue))
    }

    /// Sorts the tasks of a commit by where they go, each part in the order of publishing.
    #[must_use]
    pub fn split(&self, tasks: Vec<Task>) -> Split {
        if self.is_empty() {
            return Split { local: tasks, ..Split::default() };
        }
        let mut split = Split::default();
        for task in tasks {
            match self.of(&task.queue).map(|forwarding| &forwarding.way) {
                None => split.local.push(task),
                Some(Way::Outbox(name)) => split.add_to_outbox(name, task),
                Some(Way::AfterCommit(transport)) => split.add_to_transport(transport, task),
            }
        }
        split
    }
}

/// The tasks of a commit, by where they go.
#[derive(Debug, Default)]
pub struct Split {
    /// To the database's own queue.
    pub local: Vec<Task>,
    /// To the outboxes, by name.
    pub outbox: Vec<(Name, Vec<Task>)>,
    /// To transports, once the commit has succeeded.
    pub after_commit: Vec<(Arc<dyn ErasedTransport>, Vec<Task>)>,
}

impl Split {
    fn add_to_outbox(&mut self, name: &Name, task: Task) {
        match self.outbox.iter_mut().find(|(known, _)| known == name) {
            Some((_, tasks)) => tasks.push(task),
            None => self.outbox.push((name.clone(), vec![task])),
        }
    }

    fn add_to_transport(&mut self, transport: &Arc<dyn ErasedTransport>, task: Task) {
        let same = |known: &Arc<dyn ErasedTransport>| Arc::ptr_eq(known, transport);
        match self.after_commit.iter_mut().find(|(known, _)| same(known)) {
            Some((_, tasks)) => tasks.push(task),
            None => self.after_commit.push((transport.clone(), vec![task])),
        }
    }

    /// Whether nothing is written into the transaction.
    #[must_use]
    pub fn writes_nothing(&self) -> bool {
        self.local.is_empty() && self.outbox.is_empty()
    }

    /// How many tasks there are in all.
    #[must_use]
    pub fn len(&self) -> usize {
        let outbox = self.outbox.iter().map(|(_, tasks)| tasks.len());
        let after_commit = self.after_commit.iter().map(|(_, tasks)| tasks.len());
        self.local.len() + outbox.chain(after_commit).sum::<usize>()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Logs, once the commit has succeeded, what it has written.
    pub fn log_written(&self) {
        crate::events::log_dispatched(&self.local);
        for (outbox, tasks) in &self.outbox {
            for task in tasks {
                tracing::debug!(
                    event_id = %task.event_id,
                    event = &*task.event,
                    subscriber = &*task.name,
                    task_id = %task.id,
                    queue = &*task.queue,
                    outbox = &**outbox,
                    "event written to the outbox"
                );
            }
        }
    }
}

/// Forwardings that cannot work together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardingError {
    /// Nobody could tell where a task goes.
    #[error(
        "the queue `{queue}` is forwarded twice; take it out of one of the two, with `Queues::except` if that names all"
    )]
    Overlap {
        /// One that both have.
        queue: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_is_forwarded_twice_is_refused_by_name() {
        let both = |a: Queues, b: Queues| {
            Forwardings::new(vec![Forwarding::outbox(a), Forwarding::named_outbox("other", b)])
        };
        let overlap = both(Queues::only(["a", "b"]), Queues::only(["b", "c"])).unwrap_err();
        assert_eq!(overlap, ForwardingError::Overlap { queue: "b".into() });
        assert!(both(Queues::only(["a"]), Queues::all()).is_err());
        assert!(both(Queues::all().except(["a"]), Queues::all().except(["b"])).is_err());
        let apart = both(Queues::only(["a"]), Queues::all().except(["a"])).unwrap();
        assert_eq!(apart.queues(), Queues::all());
        assert_eq!(apart.outboxes(), ["default", "other"]);
        assert_eq!(apart.outbox_of("b").map(|name| &**name), Some("other"));
    }
}
