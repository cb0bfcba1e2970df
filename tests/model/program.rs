//! The events and subscribers of the program whose queue is tested.

use std::time::Duration;

use events_core::prelude::*;
use events_core::{Registry, unchecked};
use events_testing::ManualClock;

pub const LEASE: Duration = Duration::from_secs(15);

#[derive(Event)]
#[event(name = "model.Single")]
struct Single {
    number: u32,
}

#[derive(Event)]
#[event(name = "model.Double")]
struct Double {
    number: u32,
}

#[derive(Event)]
#[event(name = "model.Urgent")]
struct Urgent {
    number: u32,
}

#[derive(Event)]
#[event(name = "model.Unheard")]
struct Unheard {
    number: u32,
}

#[subscribes_to(Single, freshness_only, name = "model.single")]
fn single(_: Single) {}

#[subscribes_to(Double, freshness_only, name = "model.double.a")]
fn double_a(_: Double) {}

#[subscribes_to(Double, freshness_only, name = "model.double.b", queue = "other")]
fn double_b(_: Double) {}

#[subscribes_to(
    Urgent,
    freshness_only,
    name = "model.urgent",
    queue = "other",
    priority = -1,
    retry_backoff = "10s..40s"
)]
fn urgent(_: Urgent) {}

/// The program, told a second time: what the broker must make of the above.
#[derive(Debug, PartialEq, Eq)]
pub struct Subscription {
    pub name: &'static str,
    pub queue: &'static str,
    pub priority: i16,
    /// The first and the longest pause.
    pub backoff: (Duration, Duration),
}

const USUAL: Subscription = Subscription {
    name: "",
    queue: "events",
    priority: 0,
    backoff: (Duration::from_secs(1), Duration::from_hours(1)),
};

const URGENT: Subscription = Subscription {
    name: "model.urgent",
    queue: "other",
    priority: -1,
    backoff: (Duration::from_secs(10), Duration::from_secs(40)),
};

/// Which event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Single,
    Double,
    Urgent,
    Unheard,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Single, Self::Double, Self::Urgent, Self::Unheard];

    /// The event's name.
    pub fn event(self) -> &'static str {
        match self {
            Self::Single => "model.Single",
            Self::Double => "model.Double",
            Self::Urgent => "model.Urgent",
            Self::Unheard => "model.Unheard",
        }
    }

    /// Who is to get it.
    pub fn subscriptions(self) -> &'static [Subscription] {
        match self {
            Self::Single => &[Subscription { name: "model.single", ..USUAL }],
            Self::Double => &[
                Subscription { name: "model.double.a", ..USUAL },
                Subscription { name: "model.double.b", queue: "other", ..USUAL },
            ],
            Self::Urgent => &[URGENT],
            Self::Unheard => &[],
        }
    }

    /// Publishes it.
    pub fn publish(self, session: &mut impl Session, number: u32) -> EventId {
        match self {
            Self::Single => unchecked::publish_after_commit(session, Single { number }),
            Self::Double => unchecked::publish_after_commit(session, Double { number }),
            Self::Urgent => unchecked::publish_after_commit(session, Urgent { number }),
            Self::Unheard => unchecked::publish_after_commit(session, Unheard { number }),
        }
        .expect("the event encodes")
    }
}

/// The program, with a clock that is moved by hand.
pub fn events(clock: &ManualClock) -> Events {
    let registry = Registry::builder().linked_in(module_path!()).build();
    Events::builder()
        .registry(registry.expect("the program is wired rightly"))
        .clock(clock.clone())
        .settings(EventSettings { lease: LEASE, ..EventSettings::default() })
        .build()
        .expect("the program is set rightly")
}
