//! Debounced tasks whose sends come late, or twice: as from a relay that stalled and was taken over.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use events_core::prelude::*;
use events_core::task::{Debounced, Headers, Task};
use events_core::transport::Transport;
use events_core::{EventId, TaskId};

use crate::world::{Fleet, shop};

const WINDOW: Duration = Duration::from_secs(5);

/// The task of an order's event, which waits until its key is quiet.
fn debounced(fleet: &Fleet, event_id: EventId, number: u32) -> Task {
    let now = fleet.events.now();
    Task {
        id: TaskId::generate(),
        event_id,
        event: Cow::Borrowed(shop::Ordered::NAME),
        name: Cow::Borrowed(fleet.task_name()),
        queue: Cow::Borrowed("mail"),
        priority: 0,
        payload: Arc::from(format!(r#"{{"number":{number}}}"#)),
        headers: Headers::new(),
        published_at: now,
        due_at: now + WINDOW,
        debounce: Some(Debounced { key: "key".into(), not_after: now + WINDOW * 10 }),
    }
}

#[tokio::test]
async fn a_late_send_of_an_older_event_does_not_take_the_place_of_the_newer() {
    let fleet = Fleet::start().await;
    let (older, newer) = (EventId::generate(), EventId::generate());
    let transport = fleet.broker.transport();
    transport.send(vec![debounced(&fleet, newer, 2)]).await.unwrap();
    transport.send(vec![debounced(&fleet, older, 1)]).await.unwrap();
    fleet.clock.advance(WINDOW + Duration::from_secs(1));
    assert_eq!(fleet.take().await, [2]);
}

#[tokio::test]
async fn a_send_that_comes_a_second_time_does_not_put_off_what_waits() {
    let fleet = Fleet::start().await;
    let event = EventId::generate();
    let transport = fleet.broker.transport();
    transport.send(vec![debounced(&fleet, event, 1)]).await.unwrap();
    fleet.clock.advance(WINDOW / 5 * 4);
    transport.send(vec![debounced(&fleet, event, 1)]).await.unwrap();
    fleet.clock.advance(Duration::from_secs(2));
    assert_eq!(fleet.take().await, [1]);
}

#[tokio::test]
async fn a_newer_event_takes_the_place_of_the_one_that_waits_and_puts_it_off() {
    let fleet = Fleet::start().await;
    let (older, newer) = (EventId::generate(), EventId::generate());
    let transport = fleet.broker.transport();
    transport.send(vec![debounced(&fleet, older, 1)]).await.unwrap();
    fleet.clock.advance(WINDOW / 5 * 4);
    transport.send(vec![debounced(&fleet, newer, 2)]).await.unwrap();
    fleet.clock.advance(Duration::from_secs(2));
    assert_eq!(fleet.take().await, [0_u32; 0]);
    fleet.clock.advance(WINDOW);
    assert_eq!(fleet.take().await, [2]);
}
