//! Coverage: do publishers and subscribers match? Findings as data; `events-testing` asserts them.

use std::collections::BTreeMap;
use std::fmt;

use crate::registry::Registry;
use crate::unchecked::{self, UncheckedSite};

/// One thing that coverage found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// A subscriber whose event nobody publishes.
    NoPublisher {
        /// The event's name.
        event: &'static str,
        /// The subscriber's function and place.
        subscriber: String,
    },
    /// An event that is published and nobody subscribes to.
    NoSubscriber {
        /// The event's name.
        event: &'static str,
        /// A publisher's function and place.
        publisher: String,
    },
    /// A publisher that declares an event it neither mentions nor was seen to publish.
    NeverPublished {
        /// The event's name.
        event: &'static str,
        /// The publisher's function and place.
        publisher: String,
    },
    /// A call of `unchecked::publish_after_commit` that ran in this process.
    Unchecked {
        /// The event's name.
        event: &'static str,
        /// `file:line`.
        location: String,
    },
    /// A subscriber that says neither `reconciled_by` nor `freshness_only`.
    NoReconciler {
        /// The event's name.
        event: &'static str,
        /// The subscriber's function and place.
        subscriber: String,
    },
}

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Reported.
    Warning,
    /// Fails.
    Error,
}

impl Finding {
    /// How grave it is by default.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Self::NoPublisher { .. } | Self::NoSubscriber { .. } | Self::NeverPublished { .. } => {
                Severity::Error
            }
            Self::Unchecked { .. } | Self::NoReconciler { .. } => Severity::Warning,
        }
    }

    /// The kind of finding, in kebab case, as reports show it. An exemption names an event, not a
    /// kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoPublisher { .. } => "no-publisher",
            Self::NoSubscriber { .. } => "no-subscriber",
            Self::NeverPublished { .. } => "never-published",
            Self::Unchecked { .. } => "unchecked",
            Self::NoReconciler { .. } => "no-reconciler",
        }
    }

    /// The event it is about.
    #[must_use]
    pub fn event(&self) -> &'static str {
        match self {
            Self::NoPublisher { event, .. }
            | Self::NoSubscriber { event, .. }
            | Self::NeverPublished { event, .. }
            | Self::Unchecked { event, .. }
            | Self::NoReconciler { event, .. } => event,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPublisher { event, subscriber } => write!(
                f,
                "{subscriber} subscribes to `{event}`, which nobody publishes; mark the function that does with `#[publishes(…)]`, or remove the subscriber"
            ),
            Self::NoSubscriber { event, publisher } => write!(
                f,
                "{publisher} publishes `{event}`, which nobody subscribes to; write a `#[subscribes_to(…)]`, or a `foreign_subscriber!` if another program listens, link its crate (`link_subscribers!`), or exempt the event with a reason"
            ),
            Self::NeverPublished { event, publisher } => write!(
                f,
                "{publisher} declares `{event}` but its body does not mention it, and no test run has published it; publish it, or remove it from `#[publishes(…)]`"
            ),
            Self::Unchecked { event, location } => write!(
                f,
                "{location} publishes `{event}` through `unchecked`; prefer a function marked `#[publishes(…)]`"
            ),
            Self::NoReconciler { event, subscriber } => write!(
                f,
                "{subscriber} subscribes to `{event}` and says nothing about lost events; write `reconciled_by = …`, or `freshness_only` if losing one is harmless"
            ),
        }
    }
}

/// Everything there is to find about `registry`, and about the publishes that this process ran.
#[must_use]
pub fn findings(registry: &Registry) -> Vec<Finding> {
    let mut published: BTreeMap<&'static str, String> = BTreeMap::new();
    let mut found = Vec::new();
    for publisher in registry.publishers() {
        let place = format!("`{}` ({})", publisher.path(), publisher.location());
        for declared in publisher.events {
            let event = declared.event.name;
            if !declared.mentioned && declared.published() == 0 {
                found.push(Finding::NeverPublished { event, publisher: place.clone() });
            }
            published.entry(event).or_insert_with(|| place.clone());
        }
    }
    for subscriber in registry.subscribers() {
        let event = subscriber.event.name;
        if !published.contains_key(event) {
            found.push(Finding::NoPublisher { event, subscriber: subscriber.place() });
        }
        if subscriber.reconciled_by.is_none() && !subscriber.freshness_only {
            found.push(Finding::NoReconciler { event, subscriber: subscriber.place() });
        }
    }
    for (event, publisher) in published {
        if registry.subscribers_of(event).is_empty() {
            found.push(Finding::NoSubscriber { event, publisher });
        }
    }
    found.extend(
        unchecked::sites()
            .into_iter()
            .map(|UncheckedSite { location, event }| Finding::Unchecked { event, location }),
    );
    found
}
