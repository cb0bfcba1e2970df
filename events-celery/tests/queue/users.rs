//! Users whom Redis does not let in, and servers that take no writes.

use std::error::Error as _;

use events_celery::{CeleryBroker, CeleryError, CeleryOptions};
use events_core::broker::{Broker, WorkerInfo};
use events_core::{Queues, WorkerId};
use events_testing::ManualClock;
use private_redis::{Server, Settings};

use crate::world::{causes, events, eventually, shop};

async fn error(url: &str) -> CeleryError {
    let error = CeleryBroker::connect(url, &events(&ManualClock::new())).await.unwrap_err();
    assert!(!causes(&error).contains("secret"), "{}", causes(&error));
    error
}

async fn refused(url: &str) -> String {
    error(url).await.to_string()
}

#[tokio::test]
async fn wrong_user_or_password_is_told_without_showing_it() {
    let settings = Settings { password: Some("right".into()), ..Settings::default() };
    let server = Server::start(settings.user("worker", "other", "~* &* +@all")).unwrap();
    let port = server.port();
    for credentials in
        ["", ":secret@", "worker:secret@", "nobody:secret@", "default:secret@", "worker@"]
    {
        for database in [0, 1] {
            let address = format!("127.0.0.1:{port}/{database}");
            let error = error(&format!("redis://{credentials}{address}")).await;
            assert!(matches!(error, CeleryError::Denied { .. }), "{error:?}");
            assert!(!error.is_unreachable(), "another try does not help");
            let error = error.to_string();
            assert!(error.contains("check the user and the password in its URL"), "{error}");
            assert!(error.contains(&address), "{error}");
        }
    }
    for credentials in ["worker:other@", "default:right@", ":right@"] {
        let url = format!("redis://{credentials}127.0.0.1:{port}/0");
        CeleryBroker::connect(&url, &events(&ManualClock::new())).await.unwrap();
    }
}

/// As Python does; without it the default user would be let in.
#[tokio::test]
async fn user_without_a_password_is_the_one_of_the_url() {
    let settings = Settings::default().user("worker", "other", "~* &* +@all");
    let server = Server::start(settings).unwrap();
    server.cli(&["ACL", "SETUSER", "worker", "nopass"]).unwrap();
    let url = format!("redis://worker@127.0.0.1:{}/0", server.port());
    let _broker = CeleryBroker::connect(&url, &events(&ManualClock::new())).await.unwrap();
    let clients = server.cli(&["CLIENT", "LIST"]).unwrap();
    assert!(clients.contains("user=worker"), "{clients}");
}

#[tokio::test]
async fn database_that_there_is_not_is_told() {
    let server = Server::start(Settings::default()).unwrap();
    let error = error(&format!("redis://127.0.0.1:{}/4294967295", server.port())).await;
    assert!(!error.is_unreachable(), "another try does not help");
    let error = error.to_string();
    assert!(error.contains("/4294967295") && error.contains("it has no such database"), "{error}");
}

#[tokio::test]
async fn user_who_may_not_select_the_database_is_told_what_to_allow() {
    let settings = Settings::default().user("worker", "secret", "~* &* +@all -select");
    let server = Server::start(settings).unwrap();
    let error = error(&format!("redis://worker:secret@127.0.0.1:{}/1", server.port())).await;
    assert!(!error.is_unreachable(), "another try does not help");
    assert!(error.to_string().contains("`+select`"), "{error}");
}

#[tokio::test]
async fn queue_that_no_subscriber_has_cannot_be_shared() {
    let server = Server::shared();
    let events = events(&ManualClock::new());
    let options = CeleryOptions::new().shared_queues(["mail", "invoice"]);
    let error = options.connect(&server.url(), &events).await.unwrap_err();
    assert!(matches!(error, CeleryError::Options { .. }), "{error:?}");
    let error = error.to_string();
    assert!(error.contains("`invoice`") && error.contains("are `mail`"), "{error}");
    // Who only publishes shares no queue.
    options.connect_transport(&server.url(), &events).await.unwrap();
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
    let error = error.source().unwrap().downcast_ref::<CeleryError>().unwrap();
    assert!(error.to_string().contains("ACL SETUSER"), "{error}");
    assert_eq!(error.code(), Some("NOPERM"));
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
