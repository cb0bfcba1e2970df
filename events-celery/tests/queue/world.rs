//! A database with a queue, a worker on it, and messages as Python sends them.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use events_celery::{CeleryBroker, CeleryOptions, CeleryReceipt};
use events_core::broker::{Admin, Broker, BrokerError, DeadLetter, Lease, Settlement, WorkerInfo};
use events_core::lifecycle::Next;
use events_core::prelude::*;
use events_core::{EventId, Queues, Registry, TaskId, WorkerId};
use events_testing::ManualClock;
use private_redis::{Database, Server};
use redis::FromRedisValue;
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};

/// What is declared here is what the workers of these tests can run.
pub mod shop {
    use super::*;

    #[derive(Event)]
    pub struct Ordered {
        pub number: u32,
    }

    #[publishes(Ordered)]
    pub fn order(session: &mut impl Session, number: u32) -> Result<EventId, PublishError> {
        publish_after_commit(session, Ordered { number })
    }

    #[subscribes_to(Ordered, queue = "mail", freshness_only)]
    fn send_mail(event: Ordered, State(seen): State<Seen>) {
        seen.0.lock().unwrap().push(event.number);
    }
}

/// The numbers that the handler has seen.
#[derive(Clone, Default)]
pub struct Seen(pub std::sync::Arc<std::sync::Mutex<Vec<u32>>>);

/// A second, and 30 years before the clock of these tests.
pub const LONG_AGO: f64 = 946_684_800.0;

pub struct Fleet {
    pub events: Events,
    pub clock: ManualClock,
    pub broker: CeleryBroker,
    pub worker: WorkerId,
    /// Of whoever looks on and meddles.
    pub redis: MultiplexedConnection,
    pub prefix: String,
}

pub fn events(clock: &ManualClock) -> Events {
    let registry = Registry::builder().linked_in(concat!(module_path!(), "::shop"));
    let registry = registry.build().expect("the shop is wired rightly");
    Events::builder().registry(registry).clock(clock.clone()).build().expect("it can be built")
}

impl Fleet {
    /// On the server of all tests.
    pub async fn start() -> Self {
        let database = Server::shared().database();
        Self::with(&database, |options| options).await
    }

    pub async fn with(
        database: &Database,
        change: impl FnOnce(CeleryOptions) -> CeleryOptions,
    ) -> Self {
        Self::as_user(database, &database.url(), change).await
    }

    /// Whose broker is at this URL.
    pub async fn as_user(
        database: &Database,
        url: &str,
        change: impl FnOnce(CeleryOptions) -> CeleryOptions,
    ) -> Self {
        let (clock, prefix) = (ManualClock::new(), format!("{}:", TaskId::generate()));
        let events = events(&clock);
        let options = change(CeleryOptions::new().key_prefix(&prefix));
        let broker = options.connect(url, &events).await.unwrap();
        let worker = WorkerId::generate();
        broker.register(worker, &WorkerInfo::new(Queues::all(), 1)).await.unwrap();
        let redis = connection(&database.url()).await;
        Self { events, clock, broker, worker, redis, prefix }
    }

    /// A key or the list of a queue.
    pub fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Sends a command, whose second word is a key.
    pub async fn ask<T: FromRedisValue>(&self, command: &str, key: &str, rest: &[&[u8]]) -> T {
        let mut command = redis::cmd(command);
        command.arg(self.key(key)).arg(rest);
        command.query_async(&mut self.redis.clone()).await.unwrap()
    }

    /// Sends a command as it is.
    pub async fn tell(&self, words: &[&str]) {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async::<redis::Value>(&mut self.redis.clone()).await.unwrap();
    }

    /// Puts messages into the queue, in their order.
    pub async fn push(&self, messages: &[&[u8]]) {
        let _: i64 = self.ask("LPUSH", "mail", messages).await;
    }

    pub async fn claim(&self, limit: usize) -> Result<Vec<Lease<CeleryReceipt>>, BrokerError> {
        Ok(self.broker.claim(self.worker, &Queues::all(), limit).await?.tasks)
    }

    /// The numbers of the orders that a claim takes, and completes.
    pub async fn take(&self) -> Vec<u32> {
        let leases = self.claim(1000).await.unwrap();
        let numbers = numbers(&leases);
        assert!(self.end(leases, &Next::Complete).await.into_iter().all(|held| held));
        numbers
    }

    pub async fn end(&self, leases: Vec<Lease<CeleryReceipt>>, next: &Next) -> Vec<bool> {
        self.try_end(&leases, next).await.unwrap()
    }

    pub async fn try_end(
        &self,
        leases: &[Lease<CeleryReceipt>],
        next: &Next,
    ) -> Result<Vec<bool>, BrokerError> {
        let settlements: Vec<_> = leases
            .iter()
            .map(|lease| Settlement {
                receipt: lease.receipt.clone(),
                attempt: lease.attempt,
                next: next.clone(),
            })
            .collect();
        self.broker.settle(self.worker, &settlements).await
    }

    pub async fn dead_letters(&self) -> Vec<DeadLetter> {
        self.broker.dead_letters(100, None).await.unwrap()
    }

    /// How many messages wait in the list, are held, and are in the index of those.
    pub async fn places(&self) -> (u64, u64, u64) {
        (
            self.ask("LLEN", "mail", &[]).await,
            self.ask("HLEN", "unacked", &[]).await,
            self.ask("ZCARD", "unacked_index", &[]).await,
        )
    }

    /// Puts what somebody in Python holds into `unacked`.
    pub async fn hold(&self, tag: &str, entry: &str, since: f64) {
        let _: i64 = self.ask("HSET", "unacked", &[tag.as_bytes(), entry.as_bytes()]).await;
        let since = since.to_string();
        let _: i64 = self.ask("ZADD", "unacked_index", &[since.as_bytes(), tag.as_bytes()]).await;
    }

    /// Looks for dead workers and for what lapsed.
    pub async fn sweep(&self) {
        self.clock.advance(Duration::from_secs(11)); // more is looked at only every ten seconds
        self.broker.heartbeat(self.worker).await.unwrap();
        self.broker.rescue(self.worker, Duration::from_hours(1)).await.unwrap();
    }

    pub fn task_name(&self) -> &'static str {
        self.events.registry().local_subscribers().next().expect("the shop has one").task
    }

    /// A message as Celery sends it.
    pub fn order(&self, number: u32) -> Value {
        message(self.task_name(), &format!(r#"[[{{"number":{number}}}],{{}},{{}}]"#))
    }
}

pub async fn connection(url: &str) -> MultiplexedConnection {
    redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap()
}

pub fn numbers(leases: &[Lease<CeleryReceipt>]) -> Vec<u32> {
    let number = |lease: &Lease<CeleryReceipt>| {
        let payload: Value = serde_json::from_str(&lease.task.payload).unwrap();
        u32::try_from(payload["number"].as_u64().unwrap()).unwrap()
    };
    leases.iter().map(number).collect()
}

pub fn message(task: &str, body: &str) -> Value {
    let id = "930cc354-1f60-4956-bae5-ffffb26986be";
    json!({
        "body": BASE64_STANDARD.encode(body),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py", "task": task, "id": id, "eta": null, "expires": null, "retries": 0,
            "timelimit": [null, null], "root_id": id, "parent_id": null, "origin": "gen1@host",
        },
        "properties": {
            "correlation_id": id, "reply_to": "", "delivery_mode": 2, "priority": 0,
            "delivery_info": {"exchange": "", "routing_key": "mail"},
            "body_encoding": "base64", "delivery_tag": id,
        },
    })
}

/// An error and what is behind it.
pub fn causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Waits until it is so. Broken code makes a test fail, not hang.
pub async fn eventually(what: &str, mut happened: impl AsyncFnMut() -> bool) {
    let happening = async {
        while !happened().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let patience = Duration::from_mins(1);
    tokio::time::timeout(patience, happening).await.unwrap_or_else(|_| panic!("never {what}"));
}
