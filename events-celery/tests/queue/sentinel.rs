//! Redis behind Sentinel: what is published and consumed goes on when the master dies.

use events_celery::{CeleryBroker, CeleryOptions};
use events_core::broker::{Broker, Settlement, WorkerInfo};
use events_core::lifecycle::Next;
use events_core::{Queues, WorkerId};
use events_testing::ManualClock;
use private_redis::Sentinel;

use crate::world::{events, eventually, numbers, shop};

async fn publish(broker: &CeleryBroker, number: u32) -> bool {
    let mut session = broker.begin();
    shop::order(&mut session, number).unwrap();
    session.commit().await.is_ok()
}

#[tokio::test]
async fn publishing_and_consuming_go_on_after_the_master_died() {
    let sentinel = Sentinel::start(1).unwrap();
    let urls: Vec<_> =
        sentinel.addresses().into_iter().map(|address| format!("redis://{address}")).collect();
    let urls = urls.iter().map(String::as_str);
    let options =
        CeleryOptions::sentinel(urls, Sentinel::MASTER_NAME, "redis://ignored/2").unwrap();
    let broker = CeleryBroker::connect(&options, &events(&ManualClock::new())).await.unwrap();
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
    let url = format!("redis://{}", sentinel.addresses()[0]);
    let options = CeleryOptions::sentinel([&*url], "another", "redis://ignored/0").unwrap();
    let error = CeleryBroker::connect(&options, &events(&ManualClock::new())).await.unwrap_err();
    let error = error.to_string();
    assert!(error.contains("the sentinels' master `another`"), "{error}");
}
