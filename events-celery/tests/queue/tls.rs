//! Connections with TLS, to a Redis whose certificate is of an authority of its own.

use std::time::Duration;

use events_celery::{CeleryBroker, CeleryError, CeleryOptions};
use events_core::broker::{Broker, WorkerInfo};
use events_core::{Queues, WorkerId};
use events_runtime::Worker;
use events_testing::ManualClock;
use private_redis::{Server, Settings};

use crate::world::{Seen, events, numbers, shop};

fn server() -> Server {
    Server::start(Settings { tls: true, ..Settings::default() }).unwrap()
}

fn authority(server: &Server) -> Vec<u8> {
    std::fs::read(server.certificate_authority().unwrap()).unwrap()
}

#[tokio::test]
async fn authority_of_ones_own_is_trusted_when_it_is_named() {
    let server = server();
    let options = CeleryOptions::new(&server.url()).unwrap();
    let options = options.tls_root_certificate(&authority(&server)).unwrap();
    let events = events(&ManualClock::new());
    let broker = CeleryBroker::connect(&options, &events).await.unwrap();
    let worker = WorkerId::generate();
    broker.register(worker, &WorkerInfo::new(Queues::all(), 1)).await.unwrap();
    let mut session = broker.begin();
    shop::order(&mut session, 7).unwrap();
    session.commit().await.unwrap();
    let claimed = broker.claim(worker, &Queues::all(), 10).await.unwrap();
    assert_eq!(numbers(&claimed.tasks), [7]);
}

#[tokio::test]
async fn idle_worker_hears_of_new_tasks_through_tls() {
    let server = server();
    let options = CeleryOptions::new(&server.url()).unwrap();
    let options = options.tls_root_certificate(&authority(&server)).unwrap();
    let events = events(&ManualClock::new());
    let broker = CeleryBroker::connect(&options, &events).await.unwrap();
    let (seen, (stop, stopped)) = (Seen::default(), tokio::sync::oneshot::channel::<()>());
    let worker = Worker::builder(&events, broker.clone()).state(seen.clone()).build().unwrap();
    let working = tokio::spawn(worker.run_until(stopped));
    for number in 0..3 {
        let mut session = broker.begin();
        shop::order(&mut session, number).unwrap();
        session.commit().await.unwrap();
        crate::world::eventually("run", async || seen.0.lock().unwrap().last() == Some(&number))
            .await;
    }
    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_mins(1), working).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn authority_that_nobody_named_is_not_trusted_and_told() {
    let (server, other) = (server(), server());
    let options = CeleryOptions::new(&server.url()).unwrap();
    let events = events(&ManualClock::new());
    for options in [options.clone(), options.tls_root_certificate(&authority(&other)).unwrap()] {
        let error = CeleryBroker::connect(&options, &events).await.unwrap_err().to_string();
        assert!(error.contains("`tls_root_certificate`"), "{error}");
    }
}

#[test]
fn what_is_no_certificate_is_refused() {
    for (url, pem) in [
        ("rediss://localhost", "nonsense"),
        ("rediss://localhost", "-----BEGIN CERTIFICATE-----\n%\n-----END CERTIFICATE-----\n"),
        ("redis://localhost", "nonsense"),
    ] {
        let error = CeleryOptions::new(url).unwrap().tls_root_certificate(pem.as_bytes());
        assert!(matches!(error, Err(CeleryError::Certificate { .. })), "{url} {pem}");
    }
}
