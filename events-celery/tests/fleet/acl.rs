//! What a user of Redis must be allowed to be a citizen of the fleet, and to write results: what the guide
//! says.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use events_celery::CeleryResults;
use private_redis::{Server, Settings};
use redis::AsyncCommands;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::client::{Client, Heard, body, envelope};
use crate::guide;
use crate::world::World;

/// What takes longer does not happen: long enough for what happens, and short enough to wait for what
/// does not.
const PATIENCE: Duration = Duration::from_secs(5);

/// A Redis with the worker of the guide.
struct Place(Server);

/// The commands that make a worker, a citizen of it, and one that writes results; on the queue of these
/// tests.
fn commands() -> [Vec<String>; 3] {
    let of_jobs = |command: Vec<&str>| -> Vec<String> {
        command.into_iter().map(|word| word.replace(":mail*", ":jobs*")).collect()
    };
    let commands: Vec<_> = guide::commands("worker").into_iter().map(of_jobs).collect();
    commands.try_into().expect("the guide has three")
}

impl Place {
    fn new(commands: &[Vec<String>]) -> Self {
        let server = Server::start(Settings::default()).unwrap();
        for command in commands {
            let words: Vec<_> = command.iter().map(String::as_str).collect();
            server.cli(&words).unwrap();
        }
        Self(server)
    }

    fn change(&self, rule: &str) {
        self.0.cli(&["ACL", "SETUSER", "worker", rule]).unwrap();
        self.0.cli(&["FLUSHALL"]).unwrap();
        self.0.cli(&["SCRIPT", "FLUSH", "SYNC"]).unwrap();
    }

    /// A worker that is the guide's user, and a client that may do anything.
    async fn world(&self) -> World {
        let mut world = World::at(&self.0.url()).await;
        world.client = Client::behind("acme:", &world.url).await;
        world.url = world.url.replace("redis://", "redis://worker:secret@");
        world.with(|options| {
            let results = CeleryResults::new(Duration::from_mins(10));
            options.key_prefix("acme:").results(results)
        })
    }
}

async fn within<T>(happening: impl Future<Output = T>) -> Option<T> {
    timeout(PATIENCE, happening).await.ok()
}

/// Whether a worker is one that the fleet sees, hears and can ask.
async fn is_citizen(place: &Place) -> bool {
    let mut world = place.world().await;
    let mut requests = world.client.hear_requests().await;
    let mut told = world.client.hear_events().await;
    let broker = world.options.connect(&world.url, &world.events).await.unwrap();
    let running = world.work_on(broker);
    let seen = is_seen(&mut world.client, &mut requests, &mut told).await;
    running.stop().await;
    seen.is_some()
}

/// Something, if it does all of it.
async fn is_seen(client: &mut Client, requests: &mut Heard, told: &mut Heard) -> Option<()> {
    // It asks the others, and takes what they answer.
    let hello = body(&within(requests.text()).await?);
    let to = client.replies(hello["reply_to"]["routing_key"].as_str().unwrap());
    let knows = json!({"py@host": {"revoked": ["a"], "clock": 5000}});
    let answer = envelope(&knows, &json!({"ticket": hello["ticket"]}));
    let _: i64 = client.redis.lpush(&to, answer).await.unwrap();
    within(async {
        while client.redis.exists(&to).await.unwrap() {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await?;
    // It tells that it lives.
    within(told.event("worker-")).await?;
    // `celery inspect ping`
    let answer = within(client.ask("ping", json!({}))).await?;
    assert_eq!(answer, json!({"ok": "pong"}));
    // An answer that nobody fetches is gone some day.
    let to = client.request("ping", json!({}), &Value::Null).await;
    let to = client.replies(&to);
    within(async {
        while client.redis.ttl::<_, i64>(&to).await.unwrap() <= 0 {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

#[tokio::test]
async fn citizen_needs_what_the_guide_says() {
    let [worker, citizen, _] = commands();
    let place = Place::new(&[worker, citizen.clone()]);
    assert!(is_citizen(&place).await);
    let mut needless = BTreeSet::new();
    for command in guide::allowed(&citizen) {
        place.change(&format!("-{command}"));
        if is_citizen(&place).await {
            needless.insert(command);
        }
        place.change(&format!("+{command}"));
    }
    assert_eq!(needless, BTreeSet::from(["ping"]), "it comes after half a minute of silence");
}

/// Whether a result is stored and told.
async fn has_result(place: &Place) -> bool {
    let mut world = place.world().await;
    let mut heard = world.client.hear("celery-task-meta-*").await;
    let broker = world.options.connect(&world.url, &world.events).await.unwrap();
    let running = world.work_on(broker);
    world.gate.open(1);
    let id = world.client.send(false, json!({})).await;
    let told = within(heard.text()).await;
    let stored: bool = world.client.redis.exists(format!("celery-task-meta-{id}")).await.unwrap();
    running.stop().await;
    stored && told.is_some()
}

#[tokio::test]
async fn results_need_what_the_guide_says() {
    let [worker, _, results] = commands();
    let place = Place::new(&[worker, results]);
    assert!(has_result(&place).await);
    for command in ["publish", "get", "set"] {
        place.change(&format!("-{command}"));
        assert!(!has_result(&place).await, "{command}");
        place.change(&format!("+{command}"));
    }
}
