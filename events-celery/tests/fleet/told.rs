//! Workers tell that they live, and what becomes of their tasks.

use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn worker_tells_that_it_comes_lives_and_goes() {
    let mut world = World::new().await;
    let mut heard = world.client.hear_events().await;
    let running = world.work().await;
    let online = heard.event("worker-").await;
    let heartbeat = heard.event("worker-").await;
    running.stop().await;
    let offline = heard.event("worker-offline").await;
    let kinds = [&online, &heartbeat, &offline].map(|event| event["type"].as_str().unwrap());
    assert_eq!(kinds, ["worker-online", "worker-heartbeat", "worker-offline"]);
    for event in [&online, &heartbeat, &offline] {
        assert_eq!(
            (&event["hostname"], &event["sw_ident"]),
            (&json!("rust@host"), &json!("events-rs"))
        );
        assert_eq!((&event["pid"], &event["freq"]), (&json!(std::process::id()), &json!(2.0)));
    }
    let clocks = [&online, &heartbeat, &offline].map(|event| event["clock"].as_u64().unwrap());
    assert!(clocks.is_sorted(), "{clocks:?}");
}

#[tokio::test]
async fn every_step_of_a_task_is_told() {
    let mut world = World::new().await.with(|options| options.task_events(true));
    let mut heard = world.client.hear_events().await;
    let running = world.work().await;
    world.gate.open(3);
    let good = world.client.send(false, json!({"argsrepr": "(1,)"})).await;
    let mut events = Vec::new();
    while events.len() < 3 {
        events.push(heard.event("task-").await);
    }
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["task-received", "task-started", "task-succeeded"]);
    assert!(events.iter().all(|event| event["uuid"] == *good));
    assert_eq!((&events[0]["name"], &events[0]["args"]), (&json!("jobs.run"), &json!("(1,)")));
    assert_eq!(events[2]["result"], "None");
    assert!(events[2]["runtime"].is_f64());
    world.client.send(true, json!({})).await;
    let retried = heard.event("task-retried").await;
    assert_eq!(retried["exception"], "HandlerError('no luck')");
    let failed = heard.event("task-failed").await;
    assert_eq!(failed["traceback"], "no luck");
    assert_eq!(retried["uuid"], failed["uuid"]);
    running.stop().await;
}

#[tokio::test]
async fn tasks_are_told_of_only_when_somebody_wants_it() {
    let mut world = World::new().await;
    let mut heard = world.client.hear_events().await;
    let running = world.work().await;
    world.gate.open(3);
    world.client.send(false, json!({})).await;
    world.client.until("stats", |stats| stats["total"]["jobs.run"] == 1).await;
    world.client.until("active", |active| *active == json!([])).await;
    let on = world.client.ask("enable_events", json!({})).await;
    assert_eq!(on, json!({"ok": "task events enabled"}));
    let second = world.client.send(false, json!({})).await;
    assert_eq!(heard.event("task-").await["uuid"], *second, "the first was not told of");
    heard.event("task-succeeded").await;
    let off = world.client.ask("disable_events", json!({})).await;
    assert_eq!(off, json!({"ok": "task events disabled"}));
    world.client.send(false, json!({})).await;
    world.client.until("stats", |stats| stats["total"]["jobs.run"] == 3).await;
    running.stop().await;
    let last = heard.event("worker-offline").await;
    assert_eq!(last["processed"], 3);
}

#[tokio::test]
async fn revoked_and_expired_tasks_are_told_of() {
    let mut world = World::new().await.with(|options| options.task_events(true));
    let mut heard = world.client.hear_events().await;
    let running = world.work().await;
    let id = world.client.send(false, json!({"expires": "2020-01-01T00:00:00+00:00"})).await;
    let revoked = heard.event("task-revoked").await;
    assert_eq!((&revoked["uuid"], &revoked["expired"]), (&json!(id), &json!(true)));
    assert_eq!(world.client.ask("stats", json!({})).await["total"], json!({}));
    running.stop().await;
}

#[tokio::test]
async fn the_second_worker_of_a_process_has_a_name_of_its_own() {
    let mut world = World::new().await;
    let mut heard = world.client.hear_events().await;
    let first = world.work().await;
    assert_eq!(heard.event("worker-online").await["hostname"], "rust@host");
    let second = world.work_on(first.broker.clone());
    assert_eq!(heard.event("worker-online").await["hostname"], "rust-2@host");
    let answers = world.client.ask_all("ping", json!({}), 2).await;
    assert!(answers.values().all(|answer| *answer == json!({"ok": "pong"})));
    assert!(answers.contains_key("rust@host") && answers.contains_key("rust-2@host"));
    second.stop().await;
    first.stop().await;
}
