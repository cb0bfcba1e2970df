//! Redis behind Sentinel: what is published and consumed goes on when the master dies.

use events_celery::{CeleryBroker, CeleryError, CeleryOptions};
use events_core::broker::{Broker, Settlement, WorkerInfo};
use events_core::lifecycle::Next;
use events_core::{Queues, WorkerId};
use events_testing::ManualClock;
use private_redis::Sentinel;

use crate::world::{connection, events, eventually, numbers, shop};

async fn publish(broker: &CeleryBroker, number: u32) -> bool {
    let mut session = broker.begin();
    shop::order(&mut session, number).unwrap();
    session.commit().await.is_ok()
}

#[tokio::test]
async fn publishing_and_consuming_go_on_after_the_master_died() {
    let sentinel = Sentinel::start(1).unwrap();
    let options = CeleryOptions::new().master_name(Sentinel::MASTER_NAME);
    let events = events(&ManualClock::new());
    let broker = options.connect(&sentinel.url(2), &events).await.unwrap();
    let worker = WorkerId::generate();
    broker.register(worker, &WorkerInfo::new(Queues::all(), 1)).await.unwrap();
    for number in 0..3 {
        assert!(publish(&broker, number).await);
    }
    let claimed = broker.claim(worker, &Queues::all(), 1).await.unwrap().tasks;
    assert_eq!(numbers(&claimed), [0]);
    // `WAIT` is for what its own connection has written.
    eventually("replicated", async || {
        let on_replica = |command, key| sentinel.replica().cli(&["-n", "2", command, key]).unwrap();
        on_replica("HLEN", "unacked") == "1" && on_replica("LLEN", "mail") == "2"
    })
    .await;
    sentinel.fail_over().unwrap();

    eventually("published on the new master", async || publish(&broker, 3).await).await;
    // What was held is held there, too.
    let settlement =
        Settlement { receipt: claimed[0].receipt.clone(), attempt: 1, next: Next::Complete };
    assert_eq!(broker.settle(worker, &[settlement]).await.unwrap(), [true]);
    let claimed = broker.claim(worker, &Queues::all(), 10).await.unwrap().tasks;
    assert_eq!(numbers(&claimed), [1, 2, 3]);
}

#[tokio::test]
async fn master_that_the_sentinels_do_not_know_is_told() {
    let sentinel = Sentinel::start(1).unwrap();
    let options = CeleryOptions::new().master_name("another");
    let events = events(&ManualClock::new());
    let error = options.connect(&sentinel.url(0), &events).await.unwrap_err();
    // They do not know one either while they agree on another.
    assert!(error.is_unreachable(), "{error}");
    let error = error.to_string();
    assert!(error.contains("the sentinels' master `another`"), "{error}");
    assert!(error.contains("is `master_name` right?"), "{error}");
}

#[tokio::test]
async fn password_of_the_url_is_that_of_the_redis_and_the_sentinels_have_one_of_their_own() {
    let sentinel = Sentinel::start(1).unwrap();
    sentinel.master().cli(&["CONFIG", "SET", "requirepass", "right"]).unwrap();
    let address = sentinel.addresses().remove(0);
    let mut asked = connection(&format!("redis://{address}")).await;
    let mut command = redis::cmd("ACL");
    command.arg("SETUSER").arg("default").arg("resetpass").arg(">asked");
    command.exec_async(&mut asked).await.unwrap();
    let events = events(&ManualClock::new());
    let url = format!("sentinel://:right@{address}/0");
    let options = CeleryOptions::new().master_name(Sentinel::MASTER_NAME);
    options.clone().sentinel_password("asked").connect(&url, &events).await.unwrap();
    for (password, url) in [("asked", format!("sentinel://:wrong@{address}/0")), ("wrong", url)] {
        let error = options.clone().sentinel_password(password).connect(&url, &events).await;
        let error = error.unwrap_err();
        assert!(matches!(error, CeleryError::Denied { .. }), "{password}: {error:?}");
    }
}
