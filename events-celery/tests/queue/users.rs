//! Users whom Redis does not let in, and servers that take no writes.

use std::error::Error as _;

use events_celery::CeleryBroker;
use events_core::broker::{Broker, WorkerInfo};
use events_core::{Queues, WorkerId};
use events_testing::ManualClock;
use private_redis::{Server, Settings};

use crate::world::{causes, events, eventually, shop};

async fn refused(url: &str) -> String {
    let error = CeleryBroker::connect(url, &events(&ManualClock::new())).await.unwrap_err();
    let text = error.to_string();
    assert!(!text.contains("secret"), "{text}");
    text
}

#[tokio::test]
async fn wrong_user_or_password_is_told_without_showing_it() {
    let settings = Settings { password: Some("right".into()), ..Settings::default() };
    let server = Server::start(settings.user("worker", "other", "~* &* +@all")).unwrap();
    let port = server.port();
    for credentials in ["", ":secret@", "worker:secret@", "nobody:secret@", "default:secret@"] {
        let error = refused(&format!("redis://{credentials}127.0.0.1:{port}/0")).await;
        assert!(error.contains("check the user and the password in its URL"), "{error}");
    }
    for credentials in ["worker:other@", "default:right@", ":right@"] {
        let url = format!("redis://{credentials}127.0.0.1:{port}/0");
        CeleryBroker::connect(&url, &events(&ManualClock::new())).await.unwrap();
    }
}

#[tokio::test]
async fn redis_that_is_not_there_is_told() {
    let server = Server::start(Settings::default()).unwrap();
    server.stop().unwrap();
    let error = refused(&server.url()).await;
    assert!(error.contains("does it run"), "{error}");
}

#[tokio::test]
async fn user_who_lacks_a_key_is_told_what_to_allow() {
    let settings = Settings::default().user("worker", "secret", "~mine:* &* +@all");
    let server = Server::start(settings).unwrap();
    let url = server.database().url_as("worker", "secret");
    let broker = CeleryBroker::connect(&url, &events(&ManualClock::new())).await.unwrap();
    let error = broker
        .register(WorkerId::generate(), &WorkerInfo::new(Queues::all(), 1))
        .await
        .unwrap_err();
    let error = error.source().unwrap().to_string();
    assert!(error.contains("ACL SETUSER"), "{error}");
}

#[tokio::test]
async fn replica_is_told() {
    let master = Server::start(Settings::default()).unwrap();
    let of_master = format!("127.0.0.1 {}", master.port());
    let replica = Server::start(Settings::default().set("replicaof", &of_master)).unwrap();
    eventually("a replica", async || {
        replica.cli(&["INFO", "replication"]).unwrap().contains("master_link_status:up")
    })
    .await;
    let events = events(&ManualClock::new());
    let broker = CeleryBroker::connect(&replica.url(), &events).await.unwrap();
    let registered = broker
        .register(WorkerId::generate(), &WorkerInfo::new(Queues::all(), 1))
        .await
        .unwrap_err();
    let mut session = broker.begin();
    shop::order(&mut session, 1).unwrap();
    let published = session.commit().await.unwrap_err();
    for error in [registered, published] {
        let causes = causes(&error);
        assert!(causes.contains("it is a replica: give the address of the master"), "{causes}");
    }
}
