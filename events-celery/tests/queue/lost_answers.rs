//! Answers that nobody hears: what was done is undone, by whoever asked, while it lives.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use events_celery::CeleryOptions;
use events_core::broker::{Broker, WorkerInfo};
use events_core::lifecycle::Next;
use events_core::{Queues, WorkerId};
use private_redis::{Server, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::world::{Fleet, LONG_AGO, eventually, numbers};

async fn impatient(server: &Server) -> Fleet {
    let database = server.database();
    let change = |options: CeleryOptions| options.response_timeout(Duration::from_millis(100));
    let fleet = Fleet::with(&database, change).await;
    // A script that Redis does not know it does not run late either.
    fleet.push(&[fleet.order(0).to_string().as_bytes()]).await;
    let leases = fleet.claim(1).await.unwrap();
    fleet.end(leases, &Next::Release { after: Duration::ZERO }).await;
    assert_eq!(fleet.take().await, [0]);
    fleet
}

#[tokio::test]
async fn claim_whose_answer_came_too_late_goes_back_in_its_order() {
    let server = Server::start(Settings::default()).unwrap();
    let fleet = impatient(&server).await;
    for number in 0..5 {
        fleet.push(&[fleet.order(number).to_string().as_bytes()]).await;
    }
    server.suspend().unwrap();
    fleet.claim(3).await.unwrap_err();
    server.resume().unwrap();
    eventually("claimed by the late script", async || fleet.places().await == (2, 3, 3)).await;
    let leases = fleet.claim(10).await.unwrap();
    assert_eq!(numbers(&leases), [0, 1, 2, 3, 4]);
    assert_eq!(fleet.places().await, (0, 5, 5));
    fleet.end(leases, &Next::Complete).await;
    assert_eq!(fleet.places().await, (0, 0, 0));
}

#[tokio::test]
async fn claim_whose_answer_came_too_late_goes_back_with_the_next_heartbeat() {
    let server = Server::start(Settings::default()).unwrap();
    let fleet = impatient(&server).await;
    fleet.push(&[fleet.order(1).to_string().as_bytes()]).await;
    server.suspend().unwrap();
    fleet.claim(3).await.unwrap_err();
    server.resume().unwrap();
    eventually("claimed by the late script", async || fleet.places().await == (0, 1, 1)).await;
    fleet.broker.heartbeat(fleet.worker).await.unwrap();
    assert_eq!(fleet.places().await, (1, 0, 0));
}

#[tokio::test]
async fn claim_that_was_on_its_way_for_long_goes_back_with_a_later_heartbeat() {
    let server = Server::start(Settings::default()).unwrap();
    let network = SlowNetwork::before(&server).await;
    let database = server.database();
    let url = database.url().replace(&format!(":{}", server.port()), &format!(":{}", network.port));
    let change = |options: CeleryOptions| options.response_timeout(Duration::from_millis(100));
    let fleet = Fleet::as_user(&database, &url, change).await;
    assert_eq!(fleet.take().await, [0; 0], "Redis knows the script now");
    network.hold();
    fleet.claim(3).await.unwrap_err();
    assert_eq!(fleet.take().await, [0; 0], "looked for in vain, on another connection");
    for number in 0..5 {
        fleet.push(&[fleet.order(number).to_string().as_bytes()]).await;
    }
    network.deliver();
    eventually("claimed by the late script", async || fleet.places().await == (2, 3, 3)).await;
    fleet.broker.heartbeat(fleet.worker).await.unwrap();
    assert_eq!(fleet.take().await, [0, 1, 2, 3, 4]);
    assert_eq!(fleet.places().await, (0, 0, 0));
}

/// Between clients and a server: what the clients of now send, it can hold back, though they hang up.
struct SlowNetwork {
    port: u16,
    connections: Arc<AtomicU64>,
    /// The connections before this one are held.
    held: watch::Sender<u64>,
}

impl SlowNetwork {
    async fn before(server: &Server) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (port, behind) = (listener.local_addr().unwrap().port(), server.port());
        let (held, connections) = (watch::Sender::new(0), Arc::new(AtomicU64::new(0)));
        let (begun, holds) = (connections.clone(), held.subscribe());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let number = begun.fetch_add(1, Ordering::SeqCst);
                let server = TcpStream::connect((Ipv4Addr::LOCALHOST, behind)).await.unwrap();
                let ((from_client, mut to_client), (mut from_server, to_server)) =
                    (client.into_split(), server.into_split());
                tokio::spawn(Self::forward(from_client, to_server, number, holds.clone()));
                tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
            }
        });
        Self { port, connections, held }
    }

    async fn forward(
        mut client: OwnedReadHalf,
        mut server: OwnedWriteHalf,
        number: u64,
        mut holds: watch::Receiver<u64>,
    ) -> io::Result<()> {
        let mut buffer = vec![0; 65_536];
        loop {
            let read = client.read(&mut buffer).await?;
            if read == 0 || holds.wait_for(|held| *held <= number).await.is_err() {
                return Ok(());
            }
            server.write_all(&buffer[..read]).await?;
        }
    }

    fn hold(&self) {
        self.held.send_replace(self.connections.load(Ordering::SeqCst));
    }

    fn deliver(&self) {
        self.held.send_replace(0);
    }
}

#[tokio::test]
async fn claim_that_redis_did_after_all_lapses_though_its_worker_lives() {
    let fleet = Fleet::start().await;
    let order = fleet.order(1).to_string();
    // Done after it was looked for: nobody in the worker's process knows of it.
    let left = format!("rs.{}.99.1", fleet.worker);
    fleet.hold(&left, &format!(r#"[{order},"","mail"]"#), LONG_AGO).await;
    // What another worker that lives holds is its own business, whatever a clock says.
    let other = WorkerId::generate();
    let elsewhere = Fleet::start().await;
    elsewhere.broker.register(other, &WorkerInfo::new(Queues::all(), 1)).await.unwrap();
    fleet.sweep().await;
    assert_eq!(fleet.places().await, (1, 0, 0));
    assert_eq!(fleet.take().await, [1]);
}

#[tokio::test]
async fn what_a_worker_holds_does_not_lapse_whatever_the_clock_says() {
    let fleet = Fleet::start().await;
    fleet.push(&[fleet.order(1).to_string().as_bytes()]).await;
    let leases = fleet.claim(1).await.unwrap();
    let tag: Vec<String> = fleet.ask("HKEYS", "unacked", &[]).await;
    let score = LONG_AGO.to_string();
    fleet.clock.advance(Duration::from_secs(20));
    let _: i64 = fleet.ask("ZADD", "unacked_index", &[score.as_bytes(), tag[0].as_bytes()]).await;
    fleet.broker.rescue(fleet.worker, Duration::from_hours(1)).await.unwrap();
    assert_eq!(fleet.places().await, (0, 1, 1));
    assert_eq!(fleet.end(leases, &Next::Complete).await, [true]);
}

#[tokio::test]
async fn settlement_whose_answer_came_too_late_was_done_once() {
    let server = Server::start(Settings::default()).unwrap();
    let fleet = impatient(&server).await;
    fleet.push(&[fleet.order(1).to_string().as_bytes()]).await;
    let leases = fleet.claim(1).await.unwrap();
    let retry = Next::Retry { after: Duration::ZERO, error: "it broke".into() };
    server.suspend().unwrap();
    fleet.try_end(&leases, &retry).await.unwrap_err();
    server.resume().unwrap();
    eventually("settled by the late script", async || fleet.places().await == (1, 0, 0)).await;
    assert_eq!(fleet.end(leases, &retry).await, [false], "it is not done a second time");
    assert_eq!(fleet.places().await, (1, 0, 0));
    assert_eq!(fleet.claim(1).await.unwrap()[0].attempt, 2);
}

#[tokio::test]
async fn claim_whose_connection_is_killed_takes_nothing_and_the_next_goes_on() {
    let server = Server::start(Settings::default()).unwrap();
    let fleet = Fleet::with(&server.database(), |options| options).await;
    fleet.push(&[fleet.order(1).to_string().as_bytes()]).await;
    // Scripts wait in this pause, and reading commands do not.
    fleet.tell(&["CLIENT", "PAUSE", "60000", "WRITE"]).await;
    let claiming = tokio::spawn({
        let (broker, worker) = (fleet.broker.clone(), fleet.worker);
        async move { broker.claim(worker, &Queues::all(), 1).await.map(drop) }
    });
    eventually("blocked", async || {
        server.cli(&["INFO", "clients"]).unwrap().contains("blocked_clients:1")
    })
    .await;
    fleet.tell(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    fleet.tell(&["CLIENT", "UNPAUSE"]).await;
    claiming.await.unwrap().unwrap_err();
    eventually("taken", async || fleet.claim(1).await.is_ok_and(|leases| numbers(&leases) == [1]))
        .await;
}
