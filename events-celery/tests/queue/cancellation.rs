//! Callers that go away in the middle.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use events_core::broker::Broker;
use events_core::lifecycle::Next;
use futures_util::FutureExt;
use private_redis::{Server, Settings};
use tokio::time::timeout;

use crate::world::{Fleet, eventually, shop};

/// Polls so often, and goes away.
async fn give_up_after<F: Future>(polls: usize, future: F) -> bool {
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        context.waker().wake_by_ref(); // what it waits for may come, or not
        future.as_mut().poll(context).map(|_| true)
    })
    .await
}

#[tokio::test]
async fn claims_that_are_given_up_at_any_point_lose_nothing() {
    let fleet = Fleet::start().await;
    for number in 0..20 {
        fleet.push(&[fleet.order(number).to_string().as_bytes()]).await;
    }
    let mut polls = 0;
    while !give_up_after(polls, fleet.claim(7)).await {
        polls += 1;
        eventually("given back", async || {
            fleet.broker.heartbeat(fleet.worker).await.unwrap();
            fleet.places().await == (20, 0, 0)
        })
        .await;
    }
    assert!(polls > 1, "it was never given up in the middle");
}

#[tokio::test]
async fn settlements_that_are_given_up_at_any_point_are_done_once() {
    let fleet = Fleet::start().await;
    fleet.push(&[fleet.order(1).to_string().as_bytes()]).await;
    let retry = Next::Retry { after: Duration::ZERO, error: "it broke".into() };
    for polls in 1..30 {
        let leases = fleet.claim(1).await.unwrap();
        give_up_after(polls, fleet.try_end(&leases, &retry)).await;
        eventually("put back", async || fleet.places().await == (1, 0, 0)).await;
    }
    assert_eq!(fleet.claim(1).await.unwrap()[0].attempt, 30);
}

#[tokio::test]
async fn commits_that_are_given_up_at_any_point_send_all_or_nothing() {
    let fleet = Fleet::start().await;
    let (mut polls, mut all) = (0, 0);
    loop {
        let mut session = fleet.broker.begin();
        for number in 0..1000 {
            shop::order(&mut session, number).unwrap();
        }
        let ended = give_up_after(polls, session.commit()).await;
        // Begun, it goes on: there are several batches.
        all += if polls > 0 { 1000 } else { 0 };
        eventually("sent", async || fleet.places().await == (all, 0, 0)).await;
        if ended {
            break;
        }
        polls += 1;
    }
    assert!(polls > 2, "it was never given up in the middle");
}

#[tokio::test]
async fn commit_that_nobody_polls_holds_up_nobody_else() {
    let server = Server::start(Settings::default()).unwrap();
    let fleet = Fleet::with(&server.database(), |options| options).await;
    server.kill().unwrap();
    fleet.claim(1).await.unwrap_err();
    let mut session = fleet.broker.begin();
    shop::order(&mut session, 1).unwrap();
    let mut commit = pin!(session.commit());
    assert!((&mut commit).now_or_never().is_none(), "it is what connects again");
    server.start_again().unwrap();
    // Its caller is at something else now.
    let heartbeat = fleet.broker.heartbeat(fleet.worker);
    timeout(Duration::from_secs(10), heartbeat).await.expect("it is answered").unwrap();
    commit.await.unwrap();
}
