//! Building the registry of a large program.

use std::any::TypeId;
use std::time::{Duration, Instant};

use events_core::Registry;
use events_core::event::EventType;
use events_core::subscriber::{Handler, Subscriber};

use crate::Failed;
use crate::measure::{Rounds, in_turns, micros};
use crate::report::Report;

const SUBSCRIBERS: usize = 10_000;
const EVENTS: usize = 2_500;
const TARGET: Duration = Duration::from_millis(10);

pub(crate) fn run(report: &mut Report) -> Result<(), Failed> {
    let subscribers = subscribers();
    let [build] = in_turns(21, [&mut || build(&subscribers)])?;
    let what = format!("{SUBSCRIBERS} subscribers of {EVENTS} events");
    report.target(
        &what,
        &format!("{:.2} ms at best, median {:.2} ms", build.best() / 1e3, build.median() / 1e3),
        "under 10 ms",
        build.best() < micros(TARGET),
    );
    look_up(report, &subscribers)
}

/// Microseconds.
fn build(subscribers: &[&'static Subscriber]) -> Result<f64, Failed> {
    let started = Instant::now();
    let registry = registry(subscribers)?;
    let elapsed = started.elapsed();
    assert_eq!(registry.subscribers().len(), SUBSCRIBERS);
    Ok(micros(elapsed))
}

fn registry(subscribers: &[&'static Subscriber]) -> Result<Registry, Failed> {
    let builder = subscribers
        .iter()
        .fold(Registry::builder(), |builder, subscriber| builder.subscriber_ref(subscriber));
    Ok(builder.build()?)
}

fn look_up(report: &mut Report, subscribers: &[&'static Subscriber]) -> Result<(), Failed> {
    let large = registry(subscribers)?;
    let small = registry(&subscribers[..10])?;
    let mut times = [Rounds::default(), Rounds::default()];
    for _ in 0..11 {
        for (rounds, registry) in times.iter_mut().zip([&small, &large]) {
            let known = registry.subscribers();
            let started = Instant::now();
            for at in 0..100_000 {
                std::hint::black_box(registry.subscriber(known[at * 7 % known.len()].task));
            }
            rounds.push(started.elapsed().as_secs_f64() * 1e4);
        }
    }
    let [small, large] = times;
    report.figure(
        "look-up of a subscriber by task name",
        &format!("{:.0} ns among 10, {:.0} ns among 10,000", small.median(), large.median()),
    );
    Ok(())
}

fn subscribers() -> Vec<&'static Subscriber> {
    let event_names: Vec<&'static str> =
        (0..EVENTS).map(|number| leak(format!("application.events.Changed{number}"))).collect();
    (0..SUBSCRIBERS).map(|number| subscriber(number, event_names[number % EVENTS])).collect()
}

fn subscriber(number: usize, event: &'static str) -> &'static Subscriber {
    // Linked programs register in no order that helps.
    let scattered = number * 7_919 % SUBSCRIBERS;
    let subscriber = Subscriber {
        task: leak(format!("events.{event}.application.handlers.handle_{scattered}")),
        aliases: &[],
        event: EventType {
            name: event,
            fields: &[],
            id: TypeId::of::<()>(),
            rust_path: std::any::type_name::<()>,
        },
        function: leak(format!("application::handlers::handle_{scattered}")),
        file: file!(),
        line: line!(),
        queue: None,
        max_retries: None,
        retry_backoff: None,
        timeout: None,
        priority: 0,
        delay: None,
        debounce: None,
        reconciled_by: None,
        freshness_only: true,
        needs: &[],
        handler: Handler::Blocking(|_| Ok(Ok(()))),
    };
    Box::leak(Box::new(subscriber))
}

fn leak(text: String) -> &'static str {
    text.leak()
}
