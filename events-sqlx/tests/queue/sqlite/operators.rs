//! Dead letters and counts.

use std::time::Duration;

use events_core::broker::DeadLetter;
use events_core::lifecycle::Next;
use events_core::{Admin, TaskId};

use crate::sqlite::support::Fixture;

#[tokio::test]
async fn a_dead_letter_tells_everything_and_can_be_retried_with_its_history() {
    let fixture = Fixture::new().await;
    let worker = fixture.worker().await;
    fixture.publish(7).await;
    let lease = fixture.claim(worker, 1).await.tasks.remove(0);
    let retry = Next::Retry { after: Duration::ZERO, error: "first".into() };
    assert!(fixture.settle(worker, lease.receipt, 1, retry).await);
    let second = fixture.claim(worker, 1).await.tasks.remove(0);
    fixture.clock.advance(Duration::from_secs(1));
    let bury = Next::Bury { error: "second".into() };
    assert!(fixture.settle(worker, second.receipt, 2, bury).await);

    let letter = fixture.queue.dead_letters(10, None).await.unwrap().remove(0);
    assert_eq!((letter.id, letter.event_id), (lease.task.id, lease.task.event_id));
    assert_eq!((&letter.event, &letter.name), (&lease.task.event, &lease.task.name));
    assert_eq!((&*letter.queue, letter.priority), ("pings", 0));
    assert_eq!((&letter.payload, &letter.headers), (&lease.task.payload, &lease.task.headers));
    assert_eq!(letter.published_at, lease.task.published_at);
    assert_eq!(letter.died_at, fixture.events.now());
    let errors: Vec<_> =
        letter.attempts.iter().map(|one| (one.attempt, one.error.as_str())).collect();
    assert_eq!(errors, [(1, "first"), (2, "second")]);

    assert!(fixture.queue.retry_dead_letter(letter.id).await.unwrap());
    assert!(!fixture.queue.retry_dead_letter(letter.id).await.unwrap());
    let again = fixture.claim(worker, 1).await.tasks.remove(0);
    assert_eq!(
        (again.task.id, again.task.event_id, again.attempt),
        (letter.id, letter.event_id, 1)
    );
    let bury = Next::Bury { error: "third".into() };
    assert!(fixture.settle(worker, again.receipt, 1, bury).await);
    let letter = fixture.queue.dead_letters(10, None).await.unwrap().remove(0);
    assert_eq!(letter.attempts.len(), 3);

    assert!(fixture.queue.discard_dead_letter(letter.id).await.unwrap());
    assert!(!fixture.queue.discard_dead_letter(letter.id).await.unwrap());
    assert!(!fixture.queue.retry_dead_letter(TaskId::generate()).await.unwrap());
    assert!(fixture.queue.counts().await.unwrap().is_drained());
}

#[tokio::test]
async fn dead_letters_come_newest_first_and_page_by_page() {
    let fixture = Fixture::new().await;
    let worker = fixture.worker().await;
    for count in 0..5 {
        fixture.publish(count).await;
        fixture.clock.advance(Duration::from_secs(1));
        let lease = fixture.claim(worker, 1).await.tasks.remove(0);
        let bury = Next::Bury { error: "no".into() };
        assert!(fixture.settle(worker, lease.receipt, 1, bury).await);
    }
    let (mut seen, mut before) = (Vec::new(), None::<DeadLetter>);
    loop {
        let page = fixture.queue.dead_letters(2, before.as_ref()).await.unwrap();
        seen.extend(page.iter().map(|letter| letter.payload.to_string()));
        let Some(last) = page.into_iter().next_back() else { break };
        before = Some(last);
    }
    let expected: Vec<_> = (0..5).rev().map(|count| format!(r#"{{"count":{count}}}"#)).collect();
    assert_eq!(seen, expected);
}
