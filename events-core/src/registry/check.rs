//! The checks of a registry: each finds one kind of wrong wiring and says what to write instead.

use std::fmt;

use super::{Registry, collisions, is_within};
use crate::event::EventType;
use crate::reconciler::Reconciler;
use crate::settings::{QUEUE_NAMES, is_queue_name};
use crate::subscriber::{NeedKind, Subscriber};

/// Wrong wiring: the program does not start. Lists every mistake, not only the first.
#[derive(Debug, Clone)]
pub struct RegistryError {
    problems: Vec<Problem>,
}

impl RegistryError {
    pub(super) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    /// Every mistake.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [only] => write!(f, "the events are wired wrongly: {only}"),
            problems => {
                write!(f, "the events are wired wrongly in {} places:", problems.len())?;
                problems.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
            }
        }
    }
}

impl std::error::Error for RegistryError {}

/// One mistake in the wiring.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Two subscribers have one task name.
    #[error(
        "subscribers {} share the task name `{task}`; give one of them another with `name = \"…\"`, a foreign one with `task = \"…\"`",
        functions.join(" and ")
    )]
    DuplicateTask {
        /// The name.
        task: &'static str,
        /// The functions, each with its place.
        functions: Vec<String>,
    },
    /// An alias is the task name or alias of another subscriber.
    #[error(
        "the alias `{alias}` of {function} is taken by {}; an alias must be a name that nobody else answers to",
        others.join(" and ")
    )]
    AliasTaken {
        /// The alias.
        alias: &'static str,
        /// The function that declares it, with its place.
        function: String,
        /// Who else answers to the name.
        others: Vec<String>,
    },
    /// Two types have one event name.
    #[error(
        "the types {} are both called `{event}` on the wire; pin another name with `#[event(name = \"…\")]` (types declared inside a function body carry only the module's path)",
        types.join(" and ")
    )]
    DuplicateEvent {
        /// The name.
        event: &'static str,
        /// The types.
        types: Vec<String>,
    },
    /// A crate named to `link_subscribers!` has no registrations.
    #[error(
        "`link_subscribers!({path})` at {location} names a module that registers nothing; is it behind a feature that is off, or renamed in Cargo.toml (write the crate's own name)?"
    )]
    NothingLinked {
        /// What was named.
        path: &'static str,
        /// Where.
        location: String,
    },
    /// A queue name that is not portable.
    #[error("{function} has the queue `{queue}`: {QUEUE_NAMES}")]
    QueueName {
        /// The function, with its place.
        function: String,
        /// The name.
        queue: &'static str,
    },
    /// Two reconcilers have one name.
    #[error("reconcilers {} share the name `{name}`", functions.join(" and "))]
    DuplicateReconciler {
        /// The name.
        name: &'static str,
        /// The functions, each with its place.
        functions: Vec<String>,
    },
    /// A subscriber's reconciler is not registered.
    #[error(
        "{function} is reconciled by `{reconciler}`, which is not registered; link its crate, or add it to the registry's builder"
    )]
    ReconcilerMissing {
        /// The function, with its place.
        function: String,
        /// The reconciler's name.
        reconciler: &'static str,
    },
    /// A handler takes two kinds of transaction.
    #[error("{function} takes more than one transaction; a task completes in one")]
    ManyTransactions {
        /// The function, with its place.
        function: String,
    },
}

pub(super) fn problems(registry: &Registry) -> Vec<Problem> {
    let mut found = Vec::new();
    duplicate_tasks(registry, &mut found);
    taken_aliases(registry, &mut found);
    duplicate_events(registry, &mut found);
    nothing_linked(registry, &mut found);
    subscribers(registry, &mut found);
    reconcilers(registry, &mut found);
    found
}

fn duplicate_tasks(registry: &Registry, found: &mut Vec<Problem>) {
    let tasks = registry.subscribers.iter().map(|subscriber| (subscriber.task, *subscriber));
    found.extend(collisions(tasks).into_iter().map(|(task, subscribers)| Problem::DuplicateTask {
        task,
        functions: subscribers.into_iter().map(Subscriber::place).collect(),
    }));
}

fn taken_aliases(registry: &Registry, found: &mut Vec<Problem>) {
    let names = registry.subscribers.iter().flat_map(|subscriber| {
        let own = (subscriber.task, (false, *subscriber));
        let aliases = subscriber.aliases.iter().map(|alias| (*alias, (true, *subscriber)));
        std::iter::once(own).chain(aliases)
    });
    for (alias, mut claims) in collisions(names) {
        let Some(position) = claims.iter().position(|(is_alias, _)| *is_alias) else {
            continue; // reported as a duplicate task
        };
        let (_, subscriber) = claims.remove(position);
        let function = subscriber.place();
        let others = claims.into_iter().map(|(_, other)| other.place()).collect();
        found.push(Problem::AliasTaken { alias, function, others });
    }
}

fn duplicate_events(registry: &Registry, found: &mut Vec<Problem>) {
    let subscribed = registry.subscribers.iter().map(|subscriber| subscriber.event);
    let published = registry
        .publishers
        .iter()
        .flat_map(|publisher| publisher.events.iter().map(|declared| declared.event));
    let named = collisions(subscribed.chain(published).map(|event| (event.name, event)));
    for (event, claims) in named {
        let mut types: Vec<EventType> = Vec::new();
        for claim in claims {
            if !types.contains(&claim) {
                types.push(claim);
            }
        }
        if types.len() > 1 {
            let types = types.iter().map(|event| format!("`{}`", (event.rust_path)())).collect();
            found.push(Problem::DuplicateEvent { event, types });
        }
    }
}

fn nothing_linked(registry: &Registry, found: &mut Vec<Problem>) {
    for expected in &registry.expectations {
        if !registry.modules().any(|module| is_within(module, expected.path)) {
            found.push(Problem::NothingLinked {
                path: expected.path,
                location: format!("{}:{}", expected.file, expected.line),
            });
        }
    }
}

fn subscribers(registry: &Registry, found: &mut Vec<Problem>) {
    for subscriber in &registry.subscribers {
        let function = || subscriber.place(); // ten thousand of these texts take milliseconds
        if let Some(queue) = subscriber.queue.filter(|queue| !is_queue_name(queue)) {
            found.push(Problem::QueueName { function: function(), queue });
        }
        let transactions =
            subscriber.needs.iter().filter(|need| need.kind == NeedKind::Transaction).count();
        if transactions > 1 {
            found.push(Problem::ManyTransactions { function: function() });
        }
        if let Some(reconciler) = subscriber.reconciled_by
            && !registry.reconcilers.iter().any(|registered| registered.name == reconciler)
        {
            found.push(Problem::ReconcilerMissing { function: function(), reconciler });
        }
    }
}

fn reconcilers(registry: &Registry, found: &mut Vec<Problem>) {
    let names = registry.reconcilers.iter().map(|reconciler| {
        let Reconciler { name, function, file, line, .. } = reconciler;
        (*name, format!("`{function}` ({file}:{line})"))
    });
    found.extend(
        collisions(names)
            .into_iter()
            .map(|(name, functions)| Problem::DuplicateReconciler { name, functions }),
    );
}
