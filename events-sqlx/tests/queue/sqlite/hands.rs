//! Rows that somebody wrote by hand stop nothing but themselves.

use std::time::Duration;

use events_core::broker::{Heartbeat, Settlement};
use events_core::lifecycle::Next;
use events_core::{Admin, Broker};

use crate::sqlite::support::Fixture;

impl Fixture {
    async fn by_hand(&self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(self.queue.pool()).await.unwrap();
    }
}

#[tokio::test]
async fn a_task_revived_by_hand_may_die_again() {
    const REVIVE: &str =
        "INSERT INTO events_tasks (task_id, event_id, event, name, queue, priority,
        due_at, published_at, payload)
        SELECT task_id, event_id, event, name, queue, priority, died_at, published_at, payload
        FROM events_dead_letters";
    let fixture = Fixture::new().await;
    let worker = fixture.worker().await;
    fixture.publish(1).await;
    let lease = fixture.claim(worker, 1).await.tasks.remove(0);
    assert!(fixture.settle(worker, lease.receipt, 1, Next::Bury { error: "first".into() }).await);
    fixture.by_hand(REVIVE).await;
    fixture.publish(2).await;
    let leases = fixture.claim(worker, 2).await.tasks;
    let settlements: Vec<_> = leases
        .iter()
        .zip([Next::Bury { error: "second".into() }, Next::Complete])
        .map(|(lease, next)| Settlement { receipt: lease.receipt, attempt: lease.attempt, next })
        .collect();
    assert_eq!(fixture.queue.settle(worker, &settlements).await.unwrap(), [true, true]);
    assert!(fixture.queue.counts().await.unwrap().is_drained());
    let letters = fixture.queue.dead_letters(10, None).await.unwrap();
    assert_eq!((letters.len(), letters[0].id), (1, lease.task.id));
    assert_eq!(letters[0].attempts.last().unwrap().error, "second");
}

#[tokio::test]
async fn errors_that_are_no_array_are_none() {
    let fixture = Fixture::new().await;
    let alive = fixture.worker().await;
    for errors in
        ["UPDATE events_tasks SET errors = 'nonsense'", "UPDATE events_tasks SET errors = '{}'"]
    {
        fixture.publish(1).await;
        let gone = fixture.worker().await;
        let lease = fixture.claim(gone, 1).await.tasks.remove(0);
        fixture.by_hand(errors).await;
        let retry = Next::Retry { after: Duration::ZERO, error: "first".into() };
        assert!(fixture.settle(gone, lease.receipt, 1, retry).await);
        fixture.claim(gone, 1).await;
        fixture.by_hand(errors).await;
        fixture.queue.deregister(gone).await.unwrap();
        let rescued = fixture.queue.rescue(alive, Duration::from_secs(15)).await.unwrap();
        assert_eq!(rescued.len(), 1);
        fixture.clock.advance(Duration::from_mins(1));
        fixture.queue.heartbeat(alive).await.unwrap();
        let lease = fixture.claim(alive, 1).await.tasks.remove(0);
        fixture.by_hand(errors).await;
        let bury = Next::Bury { error: "last".into() };
        assert!(fixture.settle(alive, lease.receipt, lease.attempt, bury).await);
        let letter = fixture.queue.dead_letters(1, None).await.unwrap().remove(0);
        let history: Vec<_> = letter.attempts.iter().map(|one| one.error.as_str()).collect();
        assert_eq!(history, ["last"]);
        assert!(fixture.queue.discard_dead_letter(letter.id).await.unwrap());
    }
}

#[tokio::test]
async fn an_unreadable_worker_stops_no_other() {
    let fixture = Fixture::new().await;
    let (gone, alive) = (fixture.worker().await, fixture.worker().await);
    fixture
        .by_hand(
            "INSERT INTO events_workers (id, started_at, heartbeat_at, beats, lease, queues)
            VALUES (x'00', 0, 0, 1, 0, '')",
        )
        .await;
    fixture.publish(1).await;
    fixture.claim(gone, 1).await;
    fixture.queue.deregister(gone).await.unwrap();
    assert_eq!(fixture.queue.heartbeat(alive).await.unwrap(), Heartbeat::Alive);
    assert_eq!(fixture.queue.rescue(alive, Duration::from_secs(15)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_unreadable_lane_keeps_no_other_from_being_claimed() {
    let fixture = Fixture::new().await;
    let worker = fixture.worker().await;
    fixture.publish(1).await;
    fixture.by_hand("UPDATE events_tasks SET priority = 70000").await;
    fixture.publish(2).await;
    let claimed = fixture.claim(worker, 10).await.tasks;
    assert_eq!((claimed.len(), &*claimed[0].task.payload), (1, r#"{"count":2}"#));
}

#[tokio::test]
async fn an_unreadable_task_of_a_dead_worker_keeps_no_other_from_being_rescued() {
    let fixture = Fixture::new().await;
    let (gone, alive) = (fixture.worker().await, fixture.worker().await);
    fixture.publish(1).await;
    fixture.publish(2).await;
    fixture.claim(gone, 2).await;
    fixture.by_hand("UPDATE events_tasks SET task_id = x'00' WHERE seq = 1").await;
    fixture.queue.deregister(gone).await.unwrap();
    assert_eq!(fixture.queue.rescue(alive, Duration::from_secs(15)).await.unwrap().len(), 1);
    let again = fixture.claim(alive, 10).await.tasks;
    assert_eq!((again.len(), &*again[0].task.payload), (1, r#"{"count":2}"#));
}
