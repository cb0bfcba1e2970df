//! What operators see of an outbox, and can do.

use std::time::Duration;

use events_core::health::{Concern, OutboxHealth};
use events_core::outbox::Backlog;
use events_core::{Admin, Broker, Forwarding, Outbox};
use events_testing::ManualClock;

use super::database::{Database, on_each_database};
use super::transport::{Recorder, Verdict};
use super::{Running, elsewhere, events, publish, until};
use crate::logs::Logs;

on_each_database! {
    health_tells_what_waits_and_whether_anybody_sends_it,
    trouble_of_the_broker_is_told_with_what_waits_and_when_it_is_over,
    a_dead_letter_that_is_retried_is_sent_again,
    a_dead_letter_of_a_queue_without_outbox_stays,
}

async fn publish_two<D: Database>(queue: &D::Queue) {
    for number in 0..2 {
        let mut session = D::begin(queue).await;
        publish(&mut session, 1, number);
        session.commit().await.unwrap();
    }
}

async fn health_tells_what_waits_and_whether_anybody_sends_it<D: Database>(database: D) {
    let clock = ManualClock::new();
    let events = events(&clock);
    let queue = database.open(&events, vec![Forwarding::outbox(elsewhere())]).await;
    let health = |backlog, relayed| OutboxHealth::new("default", backlog, relayed);
    let idle = queue.health().await.unwrap();
    assert_eq!(idle.outboxes, [health(Backlog::default(), false)]);
    publish_two::<D>(&queue).await;
    let concerns = async || {
        let concerns = queue.health().await.unwrap().concerns();
        concerns.into_iter().filter(|concern| {
            matches!(concern, Concern::OutboxWaits(_) | Concern::OutboxWithoutRelay(_))
        })
    };
    assert_eq!(concerns().await.count(), 0, "a relay may be on its way");
    clock.advance(Duration::from_secs(90));
    let backlog = Backlog::new(2, Duration::from_secs(90));
    assert_eq!(queue.outbox_backlog("default").await.unwrap(), backlog);
    let without: Vec<_> = concerns().await.collect();
    assert_eq!(without, [Concern::OutboxWithoutRelay(health(backlog, false))]);
    let relay = Running::start(&queue, &Recorder::away());
    let waits = Concern::OutboxWaits(health(backlog, true));
    until("the relay is active", async || concerns().await.eq([waits.clone()])).await;
    relay.stop().await;
    assert_eq!(concerns().await.collect::<Vec<_>>(), without);
}

async fn trouble_of_the_broker_is_told_with_what_waits_and_when_it_is_over<D: Database>(
    database: D,
) {
    let events = events(&ManualClock::new());
    let queue = database.open(&events, vec![Forwarding::outbox(elsewhere())]).await;
    publish_two::<D>(&queue).await;
    let (logs, _guard) = Logs::capture();
    let transport = Recorder::away();
    let relay = events_runtime::Relay::new(queue, transport.clone());
    let recovered = async {
        until("it is tried again", async || transport.calls() >= 3).await;
        transport.set_away(false);
        until("it is told", async || logs.has("INFO", &["are sent again"])).await;
    };
    relay.run_until(recovered).await.unwrap(); // on this thread, whose logs are captured
    let told = logs.to_string();
    let warnings = told.lines().filter(|line| line.contains("cannot be sent and wait"));
    let warnings: Vec<_> = warnings.collect();
    assert_eq!(warnings.len(), 1, "{told}");
    for part in ["WARN", "tasks=2", "oldest=", "the broker is away"] {
        assert!(warnings[0].contains(part), "{}", warnings[0]);
    }
    assert_eq!(transport.sent().len(), 2);
}

async fn a_dead_letter_that_is_retried_is_sent_again<D: Database>(database: D) {
    let events = events(&ManualClock::new());
    let queue = database.open(&events, vec![Forwarding::outbox(elsewhere())]).await;
    let mut verdicts = [Verdict::Never].into_iter();
    let transport = Recorder::judging(move |_| verdicts.next().unwrap_or(Verdict::Sent));
    let _relay = Running::start(&queue, &transport);
    let mut session = D::begin(&queue).await;
    publish(&mut session, 1, 1);
    session.commit().await.unwrap();
    let dead = async || queue.dead_letters(10, None).await.unwrap();
    until("it is dead", async || !dead().await.is_empty()).await;
    let letter = dead().await.remove(0);
    assert!(queue.retry_dead_letter(letter.id).await.unwrap());
    transport.has_sent(1).await;
    let sent = transport.sent().remove(0);
    assert_eq!(
        (sent.id, sent.event_id, &sent.payload),
        (letter.id, letter.event_id, &letter.payload)
    );
    assert!(dead().await.is_empty());
    assert!(!queue.retry_dead_letter(letter.id).await.unwrap(), "it is not there any more");
}

async fn a_dead_letter_of_a_queue_without_outbox_stays<D: Database>(database: D) {
    let events = events(&ManualClock::new());
    let outbox = database.open(&events, vec![Forwarding::outbox(elsewhere())]).await;
    let transport = Recorder::judging(|_| Verdict::Never);
    let relay = Running::start(&outbox, &transport);
    let mut session = D::begin(&outbox).await;
    publish(&mut session, 1, 1);
    session.commit().await.unwrap();
    let dead = async || outbox.dead_letters(10, None).await.unwrap();
    until("it is dead", async || !dead().await.is_empty()).await;
    relay.stop().await;
    let letter = dead().await.remove(0);
    let forwarding = Forwarding::after_commit(elsewhere(), Recorder::new());
    let queue = database.open(&events, vec![forwarding]).await;
    let refused = queue.retry_dead_letter(letter.id).await.unwrap_err();
    let cause = std::error::Error::source(&refused).unwrap().to_string();
    assert!(cause.contains("`elsewhere`") && cause.contains("outbox"), "{cause}");
    assert_eq!(dead().await.len(), 1);
}
