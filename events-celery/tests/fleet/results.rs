//! Callers that wait for a result get one.

use std::time::Duration;

use events_celery::CeleryResults;
use private_redis::{Server, Settings};
use redis::AsyncCommands;
use serde_json::{Value, json};

use crate::client::Heard;
use crate::world::World;

const EXPIRE: Duration = Duration::from_mins(10);

/// A world whose workers write results.
async fn world() -> World {
    World::new().await.with(|options| options.results(CeleryResults::new(EXPIRE)))
}

fn key(id: &str) -> String {
    format!("celery-task-meta-{id}")
}

/// The next result of one of these tasks: the channels are those of all who use the server.
async fn told(heard: &mut Heard, ids: &[&str]) -> Value {
    loop {
        let told: Value = serde_json::from_slice(&heard.text().await).unwrap();
        if ids.iter().any(|id| told["task_id"] == **id) {
            return told;
        }
    }
}

#[tokio::test]
async fn a_result_is_stored_and_told() {
    let mut world = world().await;
    let mut heard = world.client.hear("celery-task-meta-*").await;
    let running = world.work().await;
    world.gate.open(1);
    let id = world.client.send(false, json!({"group": "g"})).await;
    let told = told(&mut heard, &[&id]).await;
    assert_eq!((&told["status"], &told["result"]), (&json!("SUCCESS"), &json!(null)));
    assert_eq!((&told["task_id"], &told["group_id"]), (&json!(id), &json!("g")));
    let stored: String = world.client.redis.get(key(&id)).await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&stored).unwrap(), told);
    let expires: i64 = world.client.redis.ttl(key(&id)).await.unwrap();
    assert!((1..=600).contains(&expires), "{expires}");
    running.stop().await;
}

#[tokio::test]
async fn a_task_that_fails_is_told_at_every_try() {
    let mut world = world().await;
    let mut heard = world.client.hear("celery-task-meta-*").await;
    let running = world.work().await;
    world.gate.open(2);
    let id = world.client.send(true, json!({})).await;
    for status in ["RETRY", "FAILURE"] {
        let told = told(&mut heard, &[&id]).await;
        assert_eq!(told["status"], status);
        assert_eq!(told["result"]["exc_message"], json!(["no luck"]));
    }
    running.stop().await;
}

#[tokio::test]
async fn a_task_that_is_not_run_has_a_result_too() {
    let mut world = world().await;
    let mut heard = world.client.hear("celery-task-meta-*").await;
    let running = world.work().await;
    let id = world.client.send(false, json!({"expires": "2020-01-01T00:00:00+00:00"})).await;
    let told = told(&mut heard, &[&id]).await;
    assert_eq!(
        (&told["status"], &told["result"]["exc_message"]),
        (&json!("REVOKED"), &json!(["expired"]))
    );
    running.stop().await;
}

#[tokio::test]
async fn only_tasks_with_wanted_results_have_one() {
    let mut world = world().await;
    let mut heard = world.client.hear("celery-task-meta-*").await;
    let running = world.work().await;
    world.gate.open(2);
    let unwanted = world.client.send(false, json!({"ignore_result": true})).await;
    let wanted = world.client.send(false, json!({"ignore_result": false})).await;
    let told = told(&mut heard, &[&unwanted, &wanted]).await;
    assert_eq!(told["task_id"], *wanted);
    let stored: bool = world.client.redis.exists(key(&unwanted)).await.unwrap();
    assert!(!stored);
    running.stop().await;
}

#[tokio::test]
async fn what_has_succeeded_stays_so() {
    let mut world = world().await;
    let running = world.work().await;
    let before = json!({"status": "SUCCESS", "result": 7}).to_string();
    let _: () = world.client.redis.set(key("a"), &before).await.unwrap();
    world.gate.open(3);
    world.client.send(true, json!({"id": "a"})).await;
    let other = world.client.send(false, json!({})).await;
    world.client.until("stats", |stats| stats["total"]["jobs.run"] == 3).await;
    world.client.until("active", |active| *active == json!([])).await;
    let stored: bool = world.client.redis.exists(key(&other)).await.unwrap();
    let after: String = world.client.redis.get(key("a")).await.unwrap();
    assert!(stored && after == before, "{after}");
    running.stop().await;
}

#[tokio::test]
async fn tasks_are_settled_though_the_results_of_another_redis_cannot_be_stored() {
    let server = tokio::task::spawn_blocking(|| Server::start(Settings::default()).unwrap());
    let server = server.await.unwrap();
    let url = server.database().url();
    let elsewhere = CeleryResults::new(EXPIRE).at(&url).global_keyprefix("other:");
    let mut world = World::new().await.with(|options| options.results(elsewhere));
    let running = world.work().await;
    world.gate.open(2);
    let id = world.client.send(false, json!({})).await;
    let mut other = crate::client::Client::connect(&url).await;
    world.client.until("stats", |stats| stats["total"]["jobs.run"] == 1).await;
    world.client.until("active", |active| *active == json!([])).await;
    let stored: bool = other.redis.exists(format!("other:{}", key(&id))).await.unwrap();
    assert!(stored);
    tokio::task::spawn_blocking(move || server.kill().unwrap()).await.unwrap();
    world.client.send(false, json!({})).await;
    world.client.until("stats", |stats| stats["total"]["jobs.run"] == 2).await;
    world.client.until("active", |active| *active == json!([])).await;
    let left: i64 = world.client.redis.hlen("unacked").await.unwrap();
    assert_eq!(left, 0, "the message is gone");
    running.stop().await;
}
