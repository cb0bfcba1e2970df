//! Connections that are ended, and servers that stop, die and come back.

use events_core::broker::{Heartbeat, Settlement, WorkerInfo};
use events_core::lifecycle::Next;
use events_core::{Broker, Queues, WorkerId};
use events_sqlx::PostgresQueueOptions;
use private_postgres::{Mode, Server, Settings};

use super::support::{Fixture, effect, ping, soon, until};
use super::wire::Wire;
use futures_util::future::join_all;

#[tokio::test]
async fn sessions_begin_without_an_error_after_every_connection_was_ended() {
    let fixture = Fixture::new().await;
    let mut sessions = Vec::new();
    for _ in 0..8 {
        sessions.push(fixture.queue.begin().await.unwrap());
    }
    for session in sessions {
        session.commit().await.unwrap();
    }
    for _ in 0..3 {
        assert!(fixture.terminate_all().await > 0);
        fixture.session().await.commit().await.unwrap();
    }
    assert_eq!((fixture.effects().await, fixture.tasks().await), (3, 3));
}

#[tokio::test]
async fn a_worker_goes_on_after_every_connection_was_ended() {
    let fixture = Fixture::new().await;
    let worker = fixture.worker().await;
    for count in 0..5 {
        fixture.publish(count).await;
        assert!(fixture.terminate_all().await > 0);
        let beats = async || {
            let answer = fixture.queue.heartbeat(worker).await;
            answer.is_ok_and(|answer| answer == Heartbeat::Alive)
        };
        until("heartbeats are written again", beats).await;
        let lease = fixture.claim(worker, 1).await.tasks.remove(0);
        assert!(fixture.settle(worker, lease.receipt, 1, Next::Complete).await);
    }
    assert_eq!(fixture.tasks().await, 0);
}

fn durable() -> Server {
    Server::start(Settings { durable: true, ..Settings::default() }).unwrap()
}

#[tokio::test]
async fn what_was_committed_is_there_after_the_server_died_and_what_was_not_is_gone() {
    let server = durable();
    let fixture = Fixture::on(&server, PostgresQueueOptions::new()).await;
    let worker = fixture.worker().await;
    fixture.session().await.commit().await.unwrap();
    let open = fixture.session().await;
    let lease = fixture.claim(worker, 1).await.tasks.remove(0);
    fixture.run("CHECKPOINT").await; // a claim's commit does not wait for the disk
    server.kill().unwrap();
    assert!(fixture.queue.begin().await.is_err());
    assert!(fixture.queue.heartbeat(worker).await.is_err());
    server.start_again().unwrap();
    open.commit().await.unwrap_err();
    assert_eq!((fixture.effects().await, fixture.tasks().await), (1, 1));
    assert_eq!(fixture.queue.heartbeat(worker).await.unwrap(), Heartbeat::Alive);
    let begun = fixture.queue.begin_task(worker, &lease.receipt).await.unwrap();
    let mut transaction = begun.expect("the lease holds");
    effect(&mut transaction, 1).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!((fixture.effects().await, fixture.tasks().await), (2, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_goes_in_the_middle_of_a_claim_leaves_no_task_leased_for_ever() {
    let server = durable();
    let fixture = Fixture::on(&server, PostgresQueueOptions::new()).await;
    let wire = Wire::to(&fixture.database).await;
    let queue = PostgresQueueOptions::new().connect(&wire.url(), &fixture.events).await.unwrap();
    let worker = WorkerId::generate();
    queue.register(worker, &WorkerInfo::new(Queues::all(), 1)).await.unwrap();
    for count in 0..2 {
        wire.quiet().await;
        // So that the statement is prepared on every connection that there is.
        let all = Queues::all();
        for _ in 0..3 {
            let claims = (0..8).map(|_| queue.claim(worker, &all, 10));
            let claims = join_all(claims).await;
            assert!(claims.into_iter().all(|claimed| claimed.unwrap().tasks.is_empty()));
        }
        fixture.publish(count).await;
        wire.quiet().await; // the connection is on its way back to its pool
        let leased = "SELECT count(*) FROM events.tasks WHERE leased_by IS NOT NULL";
        wire.hold_after(0).await;
        let claim = tokio::spawn({
            let queue = queue.clone();
            async move { queue.claim(worker, &Queues::all(), 10).await }
        });
        until("the task is leased", async || fixture.count(leased).await == 1).await;
        if count == 0 {
            server.kill().unwrap();
        } else {
            server.stop(Mode::Fast).unwrap();
        }
        // That the server has gone is all that the worker hears of it.
        wire.break_off();
        wire.let_go();
        server.start_again().unwrap();
        assert!(soon(claim).await.unwrap().is_err());
        until("a heartbeat is written", async || queue.heartbeat(worker).await.is_ok()).await;
        until("the task is back", async || fixture.count(leased).await == 0).await;
        let lease = queue.claim(worker, &Queues::all(), 10).await.unwrap().tasks.remove(0);
        assert_eq!(lease.attempt, 1);
        let complete = Settlement { receipt: lease.receipt, attempt: 1, next: Next::Complete };
        assert_eq!(queue.settle(worker, &[complete]).await.unwrap(), [true]);
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_that_says_so() {
    let server = Server::start(Settings::default()).unwrap();
    let fixture = Fixture::on(&server, PostgresQueueOptions::new()).await;
    let session = {
        let mut session = fixture.queue.begin().await.unwrap();
        ping(&mut session, 1);
        session
    };
    server.stop(Mode::Fast).unwrap();
    session.commit().await.unwrap_err();
    let error = fixture.queue.begin().await.unwrap_err();
    assert!(error.to_string().contains("check that the server runs"), "{error}");
    let url = fixture.database.url();
    let error = PostgresQueueOptions::new().connect(&url, &fixture.events).await.unwrap_err();
    assert!(error.to_string().contains("check that the server runs"), "{error}");
}
