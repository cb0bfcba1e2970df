//! Publishing without a database: encode one event, queue it, and make its task.

use std::hint::black_box;
use std::time::{Duration, Instant};

use events_core::prelude::*;
use events_core::session::PendingEvents;
use events_core::{Events, Registry, Session};

use crate::Failed;
use crate::measure::{Rounds, in_turns, nanos_per};
use crate::report::Report;

const CALLS: usize = 100_000;
const ROUNDS: usize = 11;
const TARGET_NANOS: f64 = 1_000.0;

/// A system gained or lost a data steward.
#[derive(Event, Debug, Clone, serde::Serialize)]
pub(crate) struct StewardsChanged {
    system_id: String,
    user_id: String,
    change: String,
}

#[subscribes_to(StewardsChanged, freshness_only)]
async fn observe(_event: StewardsChanged) {}

#[publishes(StewardsChanged)]
fn publish(session: &mut Unit, event: StewardsChanged) -> Result<(), PublishError> {
    publish_after_commit(session, event)?;
    Ok(())
}

/// A session without anything behind it.
struct Unit(PendingEvents);

impl Session for Unit {
    fn pending_events(&self) -> &PendingEvents {
        &self.0
    }

    fn pending_events_mut(&mut self) -> &mut PendingEvents {
        &mut self.0
    }
}

fn event() -> StewardsChanged {
    StewardsChanged {
        system_id: "system-0042".into(),
        user_id: "user-017@example.org".into(),
        change: "added".into(),
    }
}

pub(crate) fn run(report: &mut Report) -> Result<(), Failed> {
    let registry = Registry::builder().subscriber::<observe>().build()?;
    let events = Events::builder().registry(registry).build()?;
    let measured = in_turns(
        ROUNDS,
        [&mut || Ok::<_, Failed>(by_hand()), &mut || encode_only(), &mut || {
            publish_and_fan_out(&events)
        }],
    )?;
    let [by_hand, encode, all] = &measured;
    let figure = |rounds: &Rounds| {
        format!("{:.0} ns at best, median {:.0} ns", rounds.best(), rounds.median())
    };
    report.figure("serde_json::to_string and two UUIDs, by hand (floor)", &figure(by_hand));
    report.figure("encode alone", &figure(encode));
    report.target(
        "publish and fan out to one subscriber",
        &format!("{}, {} of the floor", figure(all), all.over(by_hand)),
        "under 1 µs",
        all.best() < TARGET_NANOS,
    );
    count_allocations(report, &events)
}

/// What every publisher must do at least: write the JSON, and name the event and its task.
fn by_hand() -> f64 {
    timed(|event| {
        let json = serde_json::to_string(&event).expect("texts are JSON");
        black_box((json, uuid::Uuid::now_v7(), uuid::Uuid::now_v7()));
    })
}

fn encode_only() -> Result<f64, Failed> {
    events_core::event::encode(&event())?;
    Ok(timed(|event| {
        black_box(events_core::event::encode(&event).ok());
    }))
}

fn publish_and_fan_out(events: &Events) -> Result<f64, Failed> {
    let mut unit = Unit(PendingEvents::new(events));
    publish(&mut unit, event())?;
    assert_eq!(events.dispatch(&mut unit.0).len(), 1, "one subscriber, one task");
    Ok(timed(|event| {
        publish(&mut unit, event).expect("it was published before");
        black_box(events.dispatch(&mut unit.0));
    }))
}

/// The nanoseconds of one call, without the making of the event.
fn timed(mut call: impl FnMut(StewardsChanged)) -> f64 {
    const AT_ONCE: usize = 1_000; // they stay in the cache
    let mut elapsed = Duration::ZERO;
    for _ in 0..CALLS / AT_ONCE {
        let made: Vec<_> = (0..AT_ONCE).map(|_| event()).collect();
        let started = Instant::now();
        made.into_iter().for_each(&mut call);
        elapsed += started.elapsed();
    }
    nanos_per(CALLS, elapsed)
}

fn count_allocations(report: &mut Report, events: &Events) -> Result<(), Failed> {
    let mut unit = Unit(PendingEvents::new(events));
    let encoded = event();
    let encode = allocation_counter::measure(|| {
        black_box(events_core::event::encode(&encoded).ok());
    });
    let published = event();
    let mut answer = Ok(());
    let publish = allocation_counter::measure(|| answer = publish(&mut unit, published));
    answer?;
    let fan_out = allocation_counter::measure(|| {
        black_box(events.dispatch(&mut unit.0));
    });
    for (what, counted) in [
        ("allocations: encode alone", encode),
        ("allocations: publish (encode, identify, queue)", publish),
        ("allocations: fan out to one subscriber", fan_out),
    ] {
        report.figure(what, &format!("{} of {} bytes", counted.count_total, counted.bytes_total));
    }
    Ok(())
}
