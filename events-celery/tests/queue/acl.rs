//! What a user of Redis must be allowed: so much, no more, and nothing is lost if it is less.
//!
//! What it is, the guide says; of the fleet and of results, the tests of those.

use std::collections::BTreeSet;
use std::time::Duration;

use events_celery::CeleryOptions;
use events_core::broker::{Admin, Broker, WorkerInfo};
use events_core::cadence::{ReconcilerRuns, RunResult, RunStart};
use events_core::lifecycle::Next;
use events_core::transport::Transport;
use events_core::{BoxError, EventId, Queues, Task, TaskId, Timestamp, WorkerId};
use events_testing::ManualClock;
use private_redis::{Database, Server, Settings};

use crate::guide;
use crate::world::{Fleet, LONG_AGO, connection, events, shop};

/// The commands that make a publisher: one, and one more for debounced tasks.
fn publisher() -> [Vec<&'static str>; 2] {
    guide::commands("publisher").try_into().expect("the guide has two")
}

/// The command that makes a worker. The others are for the fleet and for results.
fn worker() -> Vec<&'static str> {
    guide::commands("worker").swap_remove(0)
}

struct Place {
    server: Server,
    database: Database,
    user: &'static str,
}

impl Place {
    /// With the user that these commands of the guide make.
    fn new(commands: &[&[&'static str]]) -> Self {
        let server = Server::start(Settings::default()).unwrap();
        for command in commands {
            server.cli(command).unwrap();
        }
        Self { database: server.database(), server, user: commands[0][2] }
    }

    fn change(&self, rule: &str) {
        self.server.cli(&["ACL", "SETUSER", self.user, rule]).unwrap();
    }

    fn url(&self) -> String {
        self.database.url_as(self.user, "secret")
    }
}

fn options() -> CeleryOptions {
    CeleryOptions::new().key_prefix("acme:")
}

fn task(priority: i16) -> Task {
    Task {
        id: TaskId::generate(),
        event_id: EventId::generate(),
        event: "e".into(),
        name: "t".into(),
        queue: "mail".into(),
        priority,
        payload: "{}".into(),
        headers: events_core::task::Headers::new(),
        published_at: Timestamp::default(),
        due_at: Timestamp::default(),
        debounce: None,
    }
}

async fn publish(place: &Place, tasks: Vec<Task>) -> Result<(), BoxError> {
    let events = events(&ManualClock::new());
    Ok(options().connect_transport(&place.url(), &events).await?.send(tasks).await?)
}

fn debounced() -> Vec<Task> {
    let debounce =
        events_core::task::Debounced { key: "k".into(), not_after: Timestamp::default() };
    let one = Task { debounce: Some(debounce), ..task(0) };
    vec![one.clone(), Task { id: TaskId::generate(), ..one }]
}

#[tokio::test]
async fn publisher_needs_what_the_guide_says() {
    let [pushes, _] = publisher();
    let place = Place::new(&[&pushes]);
    publish(&place, vec![task(0), task(9), task(-1)]).await.unwrap();
    publish(&place, debounced()).await.unwrap_err();
    let mut needless = BTreeSet::new();
    for command in guide::allowed(&pushes) {
        place.change(&format!("-{command}"));
        if publish(&place, vec![task(0), task(-1)]).await.is_ok() {
            needless.insert(command);
        }
        place.change(&format!("+{command}"));
    }
    assert_eq!(needless, BTreeSet::from(["info"]), "by which it notices a Redis that is too old");
}

#[tokio::test]
async fn publisher_of_debounced_tasks_needs_what_the_guide_says() {
    let [pushes, debounces] = publisher();
    let place = Place::new(&[&pushes, &debounces]);
    publish(&place, debounced()).await.unwrap();
    for command in guide::allowed(&debounces) {
        place.server.cli(&["SCRIPT", "FLUSH", "SYNC"]).unwrap();
        place.change(&format!("-{command}"));
        publish(&place, debounced()).await.expect_err(command);
        place.change(&format!("+{command}"));
    }
}

fn ensure(condition: bool) -> Result<(), BoxError> {
    if condition { Ok(()) } else { Err("it did not do what it should".into()) }
}

/// Everything that a worker and those who look after it do.
async fn live(place: &Place) -> Result<(), BoxError> {
    let clock = ManualClock::new();
    let lease = Duration::from_secs(15);
    let broker = options().connect(&place.url(), &events(&clock)).await?;
    let (worker, other) = (WorkerId::generate(), WorkerId::generate());
    let queues = Queues::all();
    broker.register(worker, &WorkerInfo::new(queues.clone(), 1)).await?;
    broker.register(other, &WorkerInfo::new(queues.clone(), 1)).await?;
    for number in 0..6 {
        let mut session = broker.begin();
        shop::order(&mut session, number)?;
        session.commit().await?;
    }
    let claimed = broker.claim(worker, &queues, 6).await?.tasks;
    ensure(claimed.len() == 6)?;
    let end = async |index: usize, next: Next| -> Result<(), BoxError> {
        let settlement = events_core::broker::Settlement {
            receipt: claimed[index].receipt.clone(),
            attempt: 1,
            next,
        };
        broker.settle(worker, &[settlement]).await?;
        Ok(())
    };
    broker.heartbeat(worker).await?;
    end(0, Next::Complete).await?;
    end(1, Next::Retry { after: Duration::ZERO, error: "e".into() }).await?;
    end(2, Next::Retry { after: Duration::from_secs(1), error: "e".into() }).await?;
    end(3, Next::Release { after: Duration::ZERO }).await?;
    end(4, Next::Bury { error: "e".into() }).await?;
    let mut transaction =
        broker.begin_task(worker, &claimed[5].receipt).await?.expect("it is held");
    shop::order(&mut transaction, 6)?;
    transaction.commit().await?;
    let letter = broker.dead_letters(10, None).await?.remove(0);
    ensure(broker.retry_dead_letter(letter.id).await?)?;
    clock.advance(Duration::from_secs(2));
    broker.counts().await?;
    broker.health().await?;
    let claimed = broker.claim(other, &queues, 10).await?.tasks;
    ensure(claimed.len() == 5)?;
    // The other dies, and somebody in Python left something behind.
    let mut redis = connection(&place.database.url()).await;
    for (tag, exchange) in [("one", ""), ("two", "shop")] {
        let entry = format!(r#"[{{"properties":{{}},"headers":{{}}}},"{exchange}","mail"]"#);
        let score = LONG_AGO.to_string();
        let mut pipeline = redis::pipe();
        pipeline.hset("acme:unacked", tag, entry).zadd("acme:unacked_index", tag, score);
        pipeline.zadd("acme:unacked_index", "dangling", LONG_AGO);
        pipeline.sadd("acme:_kombu.binding.shop", "mail\u{6}\u{16}\u{6}\u{16}mail");
        pipeline.query_async::<()>(&mut redis).await?;
    }
    let mut rescued = 0;
    for _ in 0..10 {
        clock.advance(lease / 3);
        broker.heartbeat(worker).await?;
        rescued += broker.rescue(worker, lease).await?.len();
    }
    ensure(rescued == 5)?;
    reconcile(&broker, worker).await?;
    broker.deregister(worker).await?;
    Ok(())
}

/// A reconciler that is announced, runs and ends.
async fn reconcile(runs: &impl ReconcilerRuns, started_by: WorkerId) -> Result<(), BoxError> {
    let now = Timestamp::default();
    runs.announce_reconciler("nightly", now).await?;
    let start =
        RunStart { name: "nightly", after: None, started_at: now, started_by, next_at: now };
    ensure(runs.begin_run(&start).await?)?;
    runs.end_run("nightly", now, now, &RunResult::default()).await?;
    let known = runs.reconcilers().await?;
    ensure(known.len() == 1 && known[0].result.is_some())
}

#[tokio::test]
async fn worker_needs_what_the_guide_says() {
    let commands = worker();
    let place = Place::new(&[&commands]);
    live(&place).await.unwrap();
    place.server.cli(&["FLUSHALL"]).unwrap();
    let mut needless = BTreeSet::new();
    for command in guide::allowed(&commands) {
        place.server.cli(&["SCRIPT", "FLUSH", "SYNC"]).unwrap();
        place.change(&format!("-{command}"));
        if live(&place).await.is_ok() {
            needless.insert(command);
        }
        place.change(&format!("+{command}"));
        place.server.cli(&["FLUSHALL"]).unwrap();
    }
    // To notice a Redis that is too old, to wait instead of polling, to watch more lists than can be.
    assert_eq!(needless, BTreeSet::from(["info", "blmove", "exists"]));
}

/// The numbers of all messages that there are, wherever.
async fn all(fleet: &Fleet) -> BTreeSet<u32> {
    fleet.clock.advance(Duration::from_mins(5));
    let mut found = BTreeSet::new();
    for _ in 0..3 {
        found.extend(fleet.take().await);
        fleet.broker.heartbeat(fleet.worker).await.unwrap();
    }
    for letter in fleet.dead_letters().await {
        fleet.broker.retry_dead_letter(letter.id).await.unwrap();
        found.extend(fleet.take().await);
    }
    found
}

#[tokio::test]
async fn command_that_is_not_allowed_loses_no_message() {
    for command in guide::allowed(&worker()) {
        let anything = ["ACL", "SETUSER", "worker", "on", ">secret", "~*", "&*", "+@all"];
        let place = Place::new(&[&anything]);
        let fleet = Fleet::as_user(&place.database, &place.url(), |options| options).await;
        for number in 0..10 {
            fleet.push(&[fleet.order(number).to_string().as_bytes()]).await;
        }
        let waiting = fleet.claim(1).await.unwrap();
        let later = Next::Retry { after: Duration::from_secs(5), error: "e".into() };
        fleet.end(waiting, &later).await;
        let leases = fleet.claim(5).await.unwrap();
        fleet.clock.advance(Duration::from_secs(6));
        place.server.cli(&["SCRIPT", "FLUSH", "SYNC"]).unwrap();
        place.change(&format!("-{command}"));

        let _ = fleet.claim(2).await;
        let _ = fleet.claim(2).await;
        for (lease, next) in leases.chunks(1).zip([
            Next::Retry { after: Duration::ZERO, error: "e".into() },
            Next::Retry { after: Duration::from_secs(1), error: "e".into() },
            Next::Release { after: Duration::ZERO },
            Next::Bury { error: "e".into() },
        ]) {
            for _ in 0..3 {
                let _ = fleet.try_end(lease, &next).await;
            }
        }
        for letter in fleet.broker.dead_letters(10, None).await.unwrap_or_default() {
            let _ = fleet.broker.retry_dead_letter(letter.id).await;
        }

        place.change(&format!("+{command}"));
        // What claims took that nobody looked at goes back when their worker ends.
        let (waits, held, _) = fleet.places().await;
        assert!(waits + held <= 25, "{command}: they multiply: {waits} + {held}");
        fleet.broker.deregister(fleet.worker).await.unwrap();
        fleet.broker.register(fleet.worker, &WorkerInfo::new(Queues::all(), 1)).await.unwrap();
        fleet.broker.rescue(fleet.worker, Duration::from_secs(15)).await.unwrap();
        assert_eq!(all(&fleet).await, (0..10).collect(), "{command}");
    }
}
