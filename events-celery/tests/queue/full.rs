//! A Redis whose memory is full: nothing more is published, and what is there is worked off.

use std::time::Duration;

use events_celery::CeleryBroker;
use events_core::broker::{Admin, Broker, Heartbeat, WorkerInfo};
use events_core::lifecycle::Next;
use events_core::{Queues, WorkerId};
use private_redis::{Server, Settings};

use crate::world::{Fleet, causes, shop};

#[tokio::test]
async fn full_redis_takes_nothing_new_and_is_worked_off() {
    let server = Server::start(Settings::default()).unwrap();
    let fleet = Fleet::with(&server.database(), |options| options).await;
    for number in 0..8 {
        fleet.push(&[fleet.order(number).to_string().as_bytes()]).await;
    }
    fleet.push(&[b"not JSON"]).await;
    fleet.tell(&["CONFIG", "SET", "maxmemory", "1mb"]).await;

    let mut session = fleet.broker.begin();
    shop::order(&mut session, 9).unwrap();
    let error = session.commit().await.unwrap_err();
    let causes = causes(&error);
    assert!(causes.contains("raise maxmemory"), "{causes}");

    // Nobody must be taken for dead for it, and who starts anew may help.
    assert_eq!(fleet.broker.heartbeat(fleet.worker).await.unwrap(), Heartbeat::Alive);
    let other = WorkerId::generate();
    fleet.broker.register(other, &WorkerInfo::new(Queues::all(), 1)).await.unwrap();
    fleet.broker.deregister(other).await.unwrap();

    let mut leases = fleet.claim(4).await.unwrap();
    assert_eq!(fleet.places().await, (5, 4, 4));
    for next in [
        Next::Retry { after: Duration::ZERO, error: "it broke".into() },
        Next::Retry { after: Duration::from_secs(1), error: "it broke".into() },
        Next::Release { after: Duration::ZERO },
        Next::Bury { error: "it broke".into() },
    ] {
        let lease = leases.remove(0);
        assert_eq!(fleet.end(vec![lease], &next).await, [true], "{next:?}");
    }
    fleet.clock.advance(Duration::from_secs(2));
    let mut taken = fleet.take().await;
    taken.sort_unstable();
    assert_eq!(taken, [0, 1, 2, 4, 5, 6, 7]);
    assert_eq!(fleet.places().await, (0, 0, 0));
    let letters = fleet.dead_letters().await;
    assert_eq!(letters.len(), 2, "the one that was buried, and what is not JSON");
    assert!(fleet.broker.discard_dead_letter(letters[0].id).await.unwrap());
}

#[tokio::test]
async fn worker_that_died_is_rescued_though_redis_is_full() {
    let server = Server::start(Settings::default()).unwrap();
    let fleet = Fleet::with(&server.database(), |options| options).await;
    fleet.push(&[fleet.order(1).to_string().as_bytes()]).await;
    assert_eq!(fleet.claim(1).await.unwrap().len(), 1);
    let other: CeleryBroker = fleet.broker.clone();
    let (witness, lease) = (WorkerId::generate(), Duration::from_secs(15));
    other.register(witness, &WorkerInfo::new(Queues::all(), 1)).await.unwrap();
    fleet.tell(&["CONFIG", "SET", "maxmemory", "1mb"]).await;
    let mut rescued = Vec::new();
    for _ in 0..20 {
        fleet.clock.advance(lease / 3);
        other.heartbeat(witness).await.unwrap();
        rescued.extend(other.rescue(witness, lease).await.unwrap());
    }
    assert_eq!(rescued.len(), 1);
}
