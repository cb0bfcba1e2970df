//! Generated code never makes a strict crate complain.
#![forbid(unsafe_code, missing_docs, missing_debug_implementations, unreachable_pub)]
#![forbid(non_camel_case_types, dead_code, unused, unused_qualifications, let_underscore_drop)]
#![deny(warnings, future_incompatible, rust_2018_idioms, single_use_lifetimes)]
#![deny(clippy::all, clippy::pedantic, clippy::nursery, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet, HashMap};

use events_core::prelude::*;

/// A system changed.
#[derive(Event, Debug, Clone, PartialEq, Eq)]
pub struct SystemChanged {
    /// Which one.
    pub system_id: String,
    /// What changed, by name.
    pub changes: HashMap<String, BTreeMap<String, [Option<i64>; 3]>>,
    /// Who did it.
    pub by: Option<Person>,
    /// A list that nobody uses.
    unused: BTreeSet<u32>,
}

/// A person.
#[derive(Event, Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Who.
    pub user_id: String,
}

/// Nothing is said of it.
#[derive(Event, Debug, Clone, Copy, PartialEq, Eq)]
pub struct Emptied {}

/// Tells somebody.
///
/// # Errors
/// Nobody is there.
#[subscribes_to(SystemChanged, queue = "slow", max_retries = 8, retry_backoff = "1s..1h", timeout = "30s", reconciled_by = sweep)]
pub async fn tell(
    event: SystemChanged,
    people: State<Vec<Person>>,
    context: TaskContext,
) -> Result<(), Failure> {
    let known = people.contains(&event.by.ok_or_else(|| Failure::discard("nobody did it"))?);
    std::future::ready(()).await;
    if known && context.attempt() == 1 { Ok(()) } else { Err(Failure::retry("not yet")) }
}

#[subscribes_to(Emptied, freshness_only)]
async fn forget(event: Emptied) {
    assert_eq!(event, Emptied {});
    std::future::ready(()).await;
}

#[subscribes_to(Emptied, freshness_only, priority = -1)]
fn forget_blocking(event: Emptied, State(people): State<Vec<Person>>) -> Result<(), Failure> {
    assert_eq!(event, Emptied {});
    people.first().map(|_| ()).ok_or_else(|| Failure::discard("nobody"))
}

foreign_subscriber! {
    event = Emptied,
    task = "cleaner.tasks.sweep",
    queue = "cleaning",
    reconciled_by = sweep,
}

/// Looks at everything.
///
/// # Errors
/// Never.
#[reconciles(every = "15m")]
pub async fn sweep(scope: Scope, State(people): State<Vec<Person>>) -> Result<Report, Failure> {
    std::future::ready(()).await;
    let checked = people.iter().filter(|person| scope.contains(&person.user_id)).count();
    Ok(Report { checked: checked as u64, ..Report::default() })
}

/// The systems.
#[derive(Debug)]
pub struct Systems;

impl Systems {
    /// Changes one.
    ///
    /// # Errors
    /// The event is too large.
    #[publishes(SystemChanged, Emptied)]
    pub fn change(
        &self,
        session: &mut impl Session,
        event: SystemChanged,
    ) -> Result<EventId, PublishError> {
        publish_after_commit(session, event)
    }

    /// Publishes nothing after all; that is for coverage to say.
    #[publishes(Emptied)]
    pub async fn empty(&self) {
        std::future::ready(()).await;
    }
}

fn main() {
    assert_eq!(SystemChanged::FIELDS.len(), 4);
}
