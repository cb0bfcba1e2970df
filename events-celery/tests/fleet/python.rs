//! The worker in the eyes of real Celery.

use std::time::Duration;

use celery_fleet::{Fleet, Pool, Version, WorkerSettings};
use events_celery::CeleryResults;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::world::World;

fn solo(queue: &str) -> WorkerSettings {
    WorkerSettings { pool: Pool::Solo, ..WorkerSettings::of(queue) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn celerys_tools_see_the_worker_beside_those_in_python() {
    for version in Version::ALL {
        let mut world = World::new().await;
        let running = world.work().await;
        let url = world.url.clone();
        let asked = spawn_blocking(move || {
            let fleet = Fleet::python(version, &url);
            let worker = fleet.worker(&solo("python"));
            let log = worker.log();
            assert!(log.contains("mingle: sync with 1 nodes"), "{log}");
            assert!(!log.contains("ERROR") && !log.contains("Traceback"), "{log}");
            let ping = fleet.control("ping", &json!({}));
            assert_eq!(ping.len(), 2, "{ping:?}");
            assert_eq!(ping["rust@host"], json!({"ok": "pong"}));
            let of_rust = |method: &str| {
                let mut replies = fleet.control_of("rust@host", method, &json!({}));
                replies.remove("rust@host").unwrap_or_else(|| panic!("no reply to `{method}`"))
            };
            assert_eq!(of_rust("registered"), json!(["jobs.run"]));
            assert_eq!(of_rust("active_queues")[0]["name"], "jobs");
            assert_eq!(of_rust("stats")["pool"]["max-concurrency"], 1);
            for list in ["active", "scheduled"] {
                assert_eq!(of_rust(list), json!([]), "{list}");
            }
            let limited = fleet.control_of(
                "rust@host",
                "rate_limit",
                &json!({"task_name": "jobs.run", "rate_limit": "5/s"}),
            );
            assert!(limited["rust@host"]["error"].is_string(), "{limited:?}");
        });
        asked.await.unwrap();
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_are_revoked_in_python_are_not_run() {
    for version in Version::ALL {
        let mut world = World::new().await;
        let running = world.work().await;
        let url = world.url.clone();
        let published = spawn_blocking(move || {
            let fleet = Fleet::python(version, &url);
            fleet.control("revoke", &json!({"task_id": ["chosen"]}));
            let job = |id: &str| json!({"task": "jobs.run", "args": [{"fails": false}], "queue": "jobs", "task_id": id});
            fleet.publish(&[job("chosen"), job("other")]);
        });
        published.await.unwrap();
        let active = world.client.until("active", |active| *active != json!([])).await;
        assert_eq!(active[0]["id"], "other");
        assert_eq!(world.client.ask("reserved", json!({})).await, json!([]));
        world.gate.open(1);
        world.client.until("active", |active| *active == json!([])).await;
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_in_python_catch_what_a_handler_said_by_the_name_in_the_guide() {
    for version in Version::ALL {
        let results = CeleryResults::new(Duration::from_mins(10));
        let mut world = World::new().await.with(|options| options.results(results));
        let running = world.work().await;
        world.gate.open(3); // of one that succeeds, and the two tries of one that does not
        let url = world.url.clone();
        let asked = spawn_blocking(move || {
            let fleet = Fleet::python(version, &url).set("result_backend", url);
            let job = |fails: bool| json!({"task": "jobs.run", "args": [{"fails": fails}], "queue": "jobs"});
            let ids = fleet.publish(&[job(false), job(true)]);
            assert_eq!(fleet.result(&ids[0], None), json!({"returned": null}));
            let named = Some(("events", "HandlerError"));
            for (exception, raised) in
                [(None, "celery.exceptions.HandlerError"), (named, "events.HandlerError")]
            {
                let ended = fleet.result(&ids[1], exception);
                assert_eq!(ended, json!({"raised": raised, "text": "no luck"}));
            }
        });
        asked.await.unwrap();
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flower_lists_the_worker_and_its_tasks() {
    let mut world = World::new().await;
    let url = world.url.clone();
    let fleet = spawn_blocking(move || {
        let fleet = Fleet::python(Version::Newest, &url);
        let flower = fleet.flower();
        (fleet, flower)
    });
    let (fleet, flower) = fleet.await.unwrap();
    let running = world.work().await;
    // It has heard a heartbeat: from now on it hears of tasks too.
    let flower = spawn_blocking(move || {
        until(&flower, "/workers?json=1", |found| found.to_string().contains("rust@host"));
        flower
    });
    let flower = flower.await.unwrap();
    world.client.ask("enable_events", json!({})).await;
    world.gate.open(1);
    let id = world.client.send(false, json!({})).await;
    let seen = spawn_blocking(move || {
        let tasks = until(&flower, "/api/tasks", |found| found[&id]["state"] == "SUCCESS");
        let task = &tasks[&id];
        assert_eq!((&task["name"], &task["worker"]), (&json!("jobs.run"), &json!("rust@host")));
        // What Flower shows first may be from before.
        until(&flower, "/api/workers?refresh=1", |found| {
            let worker = &found["rust@host"];
            worker["active_queues"][0]["name"] == "jobs"
                && worker["stats"]["total"] == json!({"jobs.run": 1})
        });
        drop((fleet, flower));
    });
    seen.await.unwrap();
    running.stop().await;
}

/// Asks Flower until its answer is so.
fn until(flower: &celery_fleet::Flower, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let started = std::time::Instant::now();
    loop {
        let mut answer = ureq::get(format!("{}{path}", flower.url())).call().unwrap();
        let found: Value = answer.body_mut().read_json().unwrap();
        if holds(&found) {
            return found;
        }
        assert!(started.elapsed().as_secs() < 60, "{path}: {found}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
