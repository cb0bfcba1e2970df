//! Claims and settlements.

use std::time::Duration;

use events_core::broker::Settlement;
use events_core::lifecycle::Next;
use events_core::{Admin, Broker, EventSettings, Queues, WorkerId};
use futures_util::FutureExt;

use crate::sqlite::support::{Errors, Fixture, change, ping};

#[tokio::test]
async fn tasks_come_by_priority_then_due_time_then_age_over_all_queues() {
    let fixture = Fixture::new().await;
    let worker = fixture.worker().await;
    let mut session = fixture.queue.begin().await.unwrap();
    ping(&mut session, 1);
    change(&mut session, "a");
    ping(&mut session, 2);
    session.commit().await.unwrap();
    fixture.clock.advance(Duration::from_secs(1));
    fixture.publish(3).await;
    let order = |tasks: &[events_core::broker::Lease<_>]| -> Vec<(i16, String)> {
        tasks.iter().map(|lease| (lease.task.priority, lease.task.payload.to_string())).collect()
    };
    let change = r#"{"text":"a"}"#.to_owned();
    let ping = |count: u32| (0, format!(r#"{{"count":{count}}}"#));
    let first = fixture.claim(worker, 3).await;
    assert_eq!(order(&first.tasks), [(-5, change.clone()), ping(1), ping(2)]);
    assert_eq!(first.next_due, None);
    let rest = fixture.claim(worker, 10).await;
    assert_eq!(order(&rest.tasks), [ping(3), (5, change)]);
    assert_eq!(rest.next_due, None);
}

#[tokio::test]
async fn only_the_worker_s_queues_are_served() {
    let fixture = Fixture::new().await;
    let worker = fixture.worker().await;
    let mut session = fixture.queue.begin().await.unwrap();
    ping(&mut session, 1);
    change(&mut session, "a");
    session.commit().await.unwrap();
    // A lane that this program declares nowhere, as another release may.
    sqlx::query("UPDATE events_tasks SET queue = 'unknown' WHERE priority = 5")
        .execute(fixture.queue.pool())
        .await
        .unwrap();
    let claim = async |queues: Queues| {
        let claimed = fixture.queue.claim(worker, &queues, 10).await.unwrap();
        claimed.tasks.iter().map(|lease| lease.task.queue.to_string()).collect::<Vec<_>>()
    };
    assert!(claim(Queues::only(["nothing"])).await.is_empty());
    assert_eq!(claim(Queues::only(["changes"])).await, ["changes"]);
    assert_eq!(claim(Queues::all().except(["pings"])).await, ["unknown"]);
    assert_eq!(claim(Queues::all()).await, ["pings"]);
}

#[tokio::test]
async fn a_claim_tells_when_the_next_task_is_due() {
    let fixture = Fixture::new().await;
    let worker = fixture.worker().await;
    fixture.publish(1).await;
    let receipt = fixture.claim(worker, 1).await.tasks[0].receipt;
    let next = Next::Release { after: Duration::from_mins(1) };
    assert!(fixture.settle(worker, receipt, 1, next).await);
    let idle = fixture.claim(worker, 1).await;
    assert!(idle.tasks.is_empty());
    assert_eq!(idle.next_due, Some(fixture.events.now() + Duration::from_mins(1)));
    fixture.clock.advance(Duration::from_mins(1));
    assert_eq!(fixture.claim(worker, 1).await.tasks.len(), 1);
}

#[tokio::test]
async fn a_worker_that_is_not_registered_claims_nothing() {
    let fixture = Fixture::new().await;
    fixture.publish(1).await;
    let stranger = WorkerId::generate();
    assert!(fixture.queue.claim(stranger, &Queues::all(), 1).await.is_err());
    // Neither does one that had full claims until it was taken for dead.
    let worker = fixture.worker().await;
    assert_eq!(fixture.claim(worker, 1).await.tasks.len(), 1);
    fixture.publish(2).await;
    fixture.queue.deregister(worker).await.unwrap();
    assert!(fixture.queue.claim(worker, &Queues::all(), 1).await.is_err());
    assert_eq!(fixture.queue.counts().await.unwrap().available, 1);
}

#[tokio::test]
async fn a_batch_is_settled_in_one_go_and_only_where_the_lease_holds() {
    let fixture = Fixture::new().await;
    let worker = fixture.worker().await;
    for count in 0..5 {
        fixture.publish(count).await;
    }
    let leases = fixture.claim(worker, 5).await.tasks;
    let after = Duration::from_secs(10);
    let nexts = [
        Next::Complete,
        Next::Retry { after, error: "it \"failed\"".into() },
        Next::Release { after },
        Next::Bury { error: "never".into() },
        Next::Complete,
    ];
    let mut settlements: Vec<_> = leases
        .iter()
        .zip(nexts)
        .map(|(lease, next)| Settlement { receipt: lease.receipt, attempt: 1, next })
        .collect();
    settlements.push(settlements[0].clone());
    let stranger = fixture.worker().await;
    assert_eq!(fixture.queue.settle(stranger, &settlements).await.unwrap(), [false; 6]);
    let settled = fixture.queue.settle(worker, &settlements).await.unwrap();
    assert_eq!(settled, [true, true, true, true, true, false]);
    assert_eq!(fixture.queue.settle(worker, &settlements).await.unwrap(), [false; 6]);
    let counts = fixture.queue.counts().await.unwrap();
    assert_eq!((counts.available, counts.scheduled, counts.running, counts.dead), (0, 2, 0, 1));
    fixture.clock.advance(after);
    let attempts: Vec<_> =
        fixture.claim(worker, 5).await.tasks.iter().map(|lease| lease.attempt).collect();
    assert_eq!(attempts, [2, 1]);
}

#[tokio::test]
async fn what_is_released_at_once_keeps_its_place() {
    let fixture = Fixture::new().await;
    let worker = fixture.worker().await;
    fixture.publish(1).await;
    fixture.clock.advance(Duration::from_secs(1));
    fixture.publish(2).await;
    fixture.clock.advance(Duration::from_secs(1));
    let lease = fixture.claim(worker, 1).await.tasks.remove(0);
    let after = Duration::ZERO;
    assert!(fixture.settle(worker, lease.receipt, 1, Next::Release { after }).await);
    let again = fixture.claim(worker, 1).await.tasks.remove(0);
    assert_eq!((again.task.id, again.attempt), (lease.task.id, 1));
    assert_ne!(again.receipt, lease.receipt);
}

#[tokio::test]
async fn completed_tasks_are_archived_until_their_retention_is_over() {
    let hour = Duration::from_hours(1);
    let fixture =
        Fixture::with(EventSettings { retain_completed: Some(hour), ..Default::default() }).await;
    let worker = fixture.worker().await;
    fixture.publish(1).await;
    fixture.publish(2).await;
    let leases = fixture.claim(worker, 2).await.tasks;
    assert!(fixture.settle(worker, leases[0].receipt, 1, Next::Complete).await);
    let transaction = fixture.queue.begin_task(worker, &leases[1].receipt).await.unwrap().unwrap();
    transaction.commit().await.unwrap();
    let archived = async || fixture.count("SELECT count(*) FROM events_archive").await;
    assert_eq!((fixture.tasks().await, archived().await), (0, 2));
    assert_eq!(fixture.queue.prune().await.unwrap(), 0);
    fixture.clock.advance(hour + Duration::from_secs(1));
    assert_eq!(fixture.queue.prune().await.unwrap(), 2);
    assert_eq!(archived().await, 0);
}

#[tokio::test]
async fn a_prune_deletes_a_part_at_a_time_and_only_if_its_program_keeps_anything() {
    const FILL: &str =
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000)
        INSERT INTO events_archive (seq, task_id, event_id, event, name, queue, published_at,
            completed_at, attempt, payload)
        SELECT i, zeroblob(16), zeroblob(16), 'event', 'name', 'queue', 0, 0, 1, '{}' FROM n";
    let keeping = EventSettings { retain_completed: Some(Duration::ZERO), ..Default::default() };
    let fixture = Fixture::with(keeping).await;
    sqlx::raw_sql(FILL).execute(fixture.queue.pool()).await.unwrap();
    let other = crate::sqlite::support::events(EventSettings::default(), &fixture.clock);
    let other = events_sqlx::SqliteQueue::open(fixture.path(), &other).await.unwrap();
    assert_eq!(other.prune().await.unwrap(), 0);
    assert_eq!(fixture.queue.prune().await.unwrap(), 5000);
    assert_eq!(fixture.queue.prune().await.unwrap(), 1000);
}

#[tokio::test]
async fn a_claim_that_fails_halfway_brings_what_it_has() {
    let fixture = Fixture::new().await;
    let worker = fixture.worker().await;
    for count in 0..3 {
        fixture.publish(count).await;
    }
    // After a full claim the next begins with the lanes that are known, and then looks for others.
    assert_eq!(fixture.claim(worker, 1).await.tasks.len(), 1);
    sqlx::raw_sql(
        "UPDATE events_tasks SET queue = 'unknown' WHERE seq = 3;
        CREATE TRIGGER refuse BEFORE UPDATE ON events_tasks WHEN NEW.queue = 'unknown'
        BEGIN SELECT RAISE(ABORT, 'refused'); END",
    )
    .execute(fixture.queue.pool())
    .await
    .unwrap();
    let claimed = fixture.claim(worker, 10).await;
    assert_eq!((claimed.tasks.len(), claimed.next_due), (1, None));
    assert!(fixture.settle(worker, claimed.tasks[0].receipt, 1, Next::Complete).await);
    assert!(fixture.queue.claim(worker, &Queues::all(), 10).await.is_err());
}

#[tokio::test]
async fn an_abandoned_claim_is_given_back_however_often_it_takes() {
    let fixture = Fixture::new().await;
    let worker = fixture.worker().await;
    fixture.publish(1).await;
    let send = async |sql| sqlx::raw_sql(sql).execute(fixture.queue.pool()).await.unwrap();
    send(
        "CREATE TRIGGER refuse BEFORE UPDATE ON events_tasks WHEN NEW.leased_by IS NULL
        BEGIN SELECT RAISE(ABORT, 'refused'); END",
    )
    .await;
    let errors = Errors::default();
    let _collecting = tracing::subscriber::set_default(errors.clone());
    assert!(Box::pin(fixture.queue.claim(worker, &Queues::all(), 1)).now_or_never().is_none());
    errors.next().await;
    assert!(errors.logged()[0].contains("could not be given back"), "{:?}", errors.logged());
    send("DROP TRIGGER refuse").await;
    let again = loop {
        if let Some(lease) = fixture.claim(worker, 1).await.tasks.pop() {
            break lease;
        }
        // The time-out only keeps a failure from hanging.
        let wake = tokio::time::timeout(Duration::from_secs(20), fixture.queue.wake());
        wake.await.expect("was not given back");
    };
    assert_eq!(again.attempt, 1);
}
