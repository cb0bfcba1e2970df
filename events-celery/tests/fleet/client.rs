//! What a client of Celery's does, in plain commands.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::StreamExt;
use redis::AsyncCommands;
use redis::aio::{MultiplexedConnection, PubSub};
use serde_json::{Map, Value, json};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

/// Nothing takes so long, unless it never comes.
const LONGEST: Duration = Duration::from_secs(30);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);

const REPLIES: &str = "reply.celery.pidbox";

pub(crate) struct Client {
    server: redis::Client,
    pub(crate) redis: MultiplexedConnection,
    database: i64,
    /// In front of every key and channel.
    prefix: &'static str,
}

/// What is in an envelope.
pub(crate) fn body(envelope: &[u8]) -> Value {
    let envelope: Value = serde_json::from_slice(envelope).unwrap();
    let body = BASE64_STANDARD.decode(envelope["body"].as_str().unwrap()).unwrap();
    serde_json::from_slice(&body).unwrap()
}

pub(crate) fn envelope(body: &Value, headers: &Value) -> String {
    json!({
        "body": BASE64_STANDARD.encode(body.to_string()),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers,
        "properties": {
            "delivery_info": {"exchange": "", "routing_key": "jobs"},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": Uuid::now_v7().to_string(),
        },
    })
    .to_string()
}

impl Client {
    pub(crate) async fn connect(url: &str) -> Self {
        Self::behind("", url).await
    }

    /// In a fleet with this prefix.
    pub(crate) async fn behind(prefix: &'static str, url: &str) -> Self {
        let server = redis::Client::open(url).unwrap();
        Self {
            redis: server.get_multiplexed_async_connection().await.unwrap(),
            database: server.get_connection_info().redis_settings().db(),
            server,
            prefix,
        }
    }

    fn channel(&self, name: &str) -> String {
        format!("{}/{}.{name}", self.prefix, self.database)
    }

    /// Where answers are looked for by whoever is bound with this key.
    pub(crate) fn replies(&self, routing_key: &str) -> String {
        format!("{}{routing_key}.{REPLIES}", self.prefix)
    }

    /// Until a worker of this process can be asked.
    pub(crate) async fn wait_for_listeners(&mut self) {
        self.wait_until(|listeners| listeners > 0).await;
    }

    /// Until nobody can be.
    pub(crate) async fn wait_for_deafness(&mut self) {
        self.wait_until(|listeners| listeners == 0).await;
    }

    async fn wait_until(&mut self, wanted: impl Fn(u64) -> bool) {
        let channel = self.channel("celery.pidbox");
        let waiting = async {
            loop {
                let mut command = redis::cmd("PUBSUB");
                command.arg("NUMSUB").arg(&channel);
                let (_, count): (String, u64) = command.query_async(&mut self.redis).await.unwrap();
                if wanted(count) {
                    return;
                }
                sleep(LOOK).await;
            }
        };
        timeout(LONGEST, waiting).await.expect("the number of listeners changes");
    }

    /// Sends a job, with these headers besides the usual ones. Its id.
    pub(crate) async fn send(&mut self, fails: bool, headers: Value) -> String {
        let id = Uuid::now_v7().to_string();
        let mut all = json!({"task": "jobs.run", "id": id, "root_id": id, "retries": 0});
        all.as_object_mut().unwrap().extend(headers.as_object().unwrap().clone());
        let message = envelope(&json!([[{"fails": fails}], {}, null]), &all);
        let jobs = format!("{}jobs", self.prefix);
        let _: i64 = self.redis.lpush(jobs, message).await.unwrap();
        id
    }

    /// Publishes a request, or whatever it is.
    pub(crate) async fn publish(&mut self, text: &str) {
        let channel = self.channel("celery.pidbox");
        let _: i64 = self.redis.publish(channel, text).await.unwrap();
    }

    /// Asks all workers, and takes so many answers: by node.
    pub(crate) async fn ask_all(
        &mut self,
        method: &str,
        arguments: Value,
        answers: usize,
    ) -> Map<String, Value> {
        self.ask_these(method, arguments, &Value::Null, answers).await
    }

    pub(crate) async fn ask_these(
        &mut self,
        method: &str,
        arguments: Value,
        destination: &Value,
        answers: usize,
    ) -> Map<String, Value> {
        let me = self.request(method, arguments, destination).await;
        let queue = self.replies(&me);
        let mut found = Map::new();
        while found.len() < answers {
            let answer = self.take(&queue).await;
            let text: Value = serde_json::from_slice(&answer).unwrap();
            assert_eq!(text["headers"]["ticket"], "ticket");
            assert!(text["headers"]["clock"].as_u64().unwrap() > 1000, "its clock was raised");
            found.extend(body(&answer).as_object().unwrap().clone());
        }
        found
    }

    /// Asks, and tells with which key the answers come.
    pub(crate) async fn request(
        &mut self,
        method: &str,
        arguments: Value,
        destination: &Value,
    ) -> String {
        let me = Uuid::now_v7().to_string();
        let member = format!("{me}\u{6}\u{16}\u{6}\u{16}{me}.{REPLIES}");
        let binding = format!("{}_kombu.binding.{REPLIES}", self.prefix);
        let _: i64 = self.redis.sadd(binding, member).await.unwrap();
        let request = json!({
            "method": method,
            "arguments": arguments,
            "destination": destination,
            "pattern": null,
            "matcher": null,
            "ticket": "ticket",
            "reply_to": {"exchange": REPLIES, "routing_key": me},
        });
        self.publish(&envelope(&request, &json!({"clock": 1000, "expires": 0}))).await;
        me
    }

    /// The answer of the only worker.
    pub(crate) async fn ask(&mut self, method: &str, arguments: Value) -> Value {
        let mut answers = self.ask_all(method, arguments, 1).await;
        answers.remove("rust@host").expect("it is the one that answered")
    }

    /// The next element of a list, when there is one.
    pub(crate) async fn take(&mut self, list: &str) -> Vec<u8> {
        let taken = async {
            loop {
                let found: Option<Vec<u8>> = self.redis.rpop(list, None).await.unwrap();
                match found {
                    Some(found) => return found,
                    None => sleep(LOOK).await,
                }
            }
        };
        timeout(LONGEST, taken).await.expect("an answer comes")
    }

    /// Until this holds.
    pub(crate) async fn until(&mut self, method: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let wait = async {
            loop {
                let answer = self.ask(method, json!({})).await;
                if holds(&answer) {
                    return answer;
                }
                sleep(LOOK).await;
            }
        };
        timeout(LONGEST, wait).await.unwrap_or_else(|_| panic!("`{method}` never says so"))
    }

    /// Hears what is published to channels of this pattern.
    pub(crate) async fn hear(&self, pattern: &str) -> Heard {
        let mut channels = self.server.get_async_pubsub().await.unwrap();
        channels.psubscribe(pattern).await.unwrap();
        Heard { channels, events: Vec::new() }
    }

    /// Hears events.
    pub(crate) async fn hear_events(&self) -> Heard {
        self.hear(&self.channel("celeryev/*")).await
    }

    /// Hears requests.
    pub(crate) async fn hear_requests(&self) -> Heard {
        self.hear(&self.channel("celery.pidbox")).await
    }
}

pub(crate) struct Heard {
    channels: PubSub,
    events: Vec<Value>,
}

impl Heard {
    /// The next text.
    pub(crate) async fn text(&mut self) -> Vec<u8> {
        let mut stream = self.channels.on_message();
        let next = timeout(LONGEST, stream.next()).await.expect("something is told");
        next.unwrap().get_payload_bytes().to_vec()
    }

    /// The next event of these kinds: all of a message are taken in their order.
    pub(crate) async fn event(&mut self, kind: &str) -> Value {
        loop {
            while !self.events.is_empty() {
                let event = self.events.remove(0);
                if event["type"].as_str().unwrap().starts_with(kind) {
                    return event;
                }
            }
            match body(&self.text().await) {
                Value::Array(events) => self.events.extend(events),
                event => self.events.push(event),
            }
        }
    }
}
