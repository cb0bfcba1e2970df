//! A registered handler decodes, extracts, runs and answers.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use events_core::__private::SubscriberFunction;
use events_core::context::CancellationSource;
use events_core::extract::{Invocation, States};
use events_core::prelude::*;
use events_core::subscriber::{Handler, InvokeError, Subscriber};

#[derive(Event)]
struct Added {
    number: u32,
}

#[subscribes_to(Added, freshness_only)]
async fn refuse_odd(event: Added, State(limit): State<u32>) -> Result<(), Failure> {
    std::future::ready(()).await;
    check(event.number, limit)
}

#[subscribes_to(Added, freshness_only)]
fn refuse_odd_blocking(event: Added, State(limit): State<u32>) -> Result<(), Failure> {
    check(event.number, limit)
}

fn check(number: u32, limit: u32) -> Result<(), Failure> {
    if number > limit {
        return Err(Failure::discard("too large"));
    }
    if number % 2 == 0 { Ok(()) } else { Err(Failure::retry("odd")) }
}

fn run(
    subscriber: &Subscriber,
    states: &States,
    payload: &str,
) -> Result<Result<(), Failure>, InvokeError> {
    let task = events_core::Task {
        id: events_core::event::TaskId::generate(),
        event_id: EventId::generate(),
        event: subscriber.event.name.into(),
        name: subscriber.task.into(),
        queue: "events".into(),
        priority: 0,
        payload: payload.into(),
        headers: Default::default(),
        published_at: events_core::Timestamp::from_micros(0),
        due_at: events_core::Timestamp::from_micros(0),
        debounce: None,
    };
    let context = TaskContext::new(&task, 1, CancellationSource::new().token());
    let invocation = Invocation { payload, context: &context, states, transaction: None };
    match subscriber.handler {
        Handler::Blocking(call) => call(invocation),
        Handler::Async(call) => {
            let mut future = pin!(call(invocation)?);
            match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(answer) => Ok(answer),
                Poll::Pending => panic!("it waits for nothing"),
            }
        }
        Handler::Foreign => panic!("both are here"),
    }
}

fn main() {
    let mut states = States::new();
    states.insert(10_u32);
    for subscriber in [refuse_odd::SUBSCRIBER, refuse_odd_blocking::SUBSCRIBER] {
        let run = |payload| run(subscriber, &states, payload);
        assert!(matches!(run(r#"{"number":2}"#), Ok(Ok(()))));
        assert!(matches!(run(r#"{"number":3}"#), Ok(Err(Failure::Retry(_)))));
        assert!(matches!(run(r#"{"number":12}"#), Ok(Err(Failure::Discard(_)))));
        assert!(matches!(run(r#"{"number":"2"}"#), Err(InvokeError::Decode(_))));
        let missing = self::run(subscriber, &States::new(), r#"{"number":2}"#);
        assert!(matches!(missing, Err(InvokeError::Missing(_))));
    }
}
