//! Python publishes, Rust executes.

use celery_fleet::Version;
use events_core::EventId;
use events_core::broker::Admin;
use serde_json::{Value, json};

use crate::celery::shop::{self, Counter};
use crate::celery::world::{Running, World, dead_letters, eventually};

of_both_versions! {
    rust_executes_what_python_publishes_in_every_form,
    what_rust_cannot_execute_is_a_dead_letter_that_says_why,
    old_protocol_is_read,
}

/// A task of the shop with these arguments and options.
fn task(args: Value, options: Value) -> Value {
    let mut line = json!({"task": "shop.take_order", "queue": shop::QUEUE, "args": args});
    let Value::Object(options) = options else { panic!("options are an object") };
    line.as_object_mut().unwrap().extend(options);
    line
}

fn tagged(kind: &str, value: impl Into<Value>) -> Value {
    json!({"__type__": kind, "__value__": value.into()})
}

async fn rust_executes_what_python_publishes_in_every_form(version: Version) {
    let world = World::new();
    let event_id = EventId::generate().to_string();
    let tagged_values = json!({
        "number": 3,
        "key": tagged("uuid", json!({"hex": "0192f0c17a5e7c3a9d4e3f1b2a6c5d4e"})),
        "placed_at": tagged("datetime", "2030-01-02T03:04:05+00:00"),
        "price": tagged("decimal", "19.90"),
    });
    let large = "ä\"\u{1F600}".repeat(8_000);
    world.fleet(version).publish(&[
        task(json!([{"number": 9}]), json!({"priority": 9})),
        task(json!([{"number": 6}]), json!({"priority": 7})),
        task(
            json!([{"number": 1, "note": "grüße 😀"}, event_id]),
            json!({"headers": {"request_id": "r-1"}}),
        ),
        task(json!([2, "by position"]), json!({"kwargs": {"key": "by name"}})),
        task(json!([]), json!({"kwargs": tagged_values})),
        task(json!([{"number": 4, "note": large}]), json!({"compression": "gzip"})),
        task(json!([{"number": 5}]), json!({"countdown": 0.5})),
        task(json!([{"number": 7}]), json!({"eta": "2020-01-01T00:00:00Z"})),
        task(json!([{"number": 8}]), json!({"expires": "2020-01-01T00:00:00Z"})),
        task(json!([{"number": 10}]), json!({"countdown": 3600})),
        task(json!([{"number": 11}]), json!({"expires": 3600})),
    ]);
    let broker = shop::broker(&world).await;
    let taken = Counter::open();
    let worker = shop::worker(&broker, &taken).concurrency(1).prefetch(0).build().unwrap();
    let worker = Running::start(worker);
    let first = taken.awaits(1).await;
    assert_eq!(first.order.note.as_deref(), Some("grüße 😀"));
    assert_eq!(first.task.event_id().to_string(), event_id);
    assert_eq!(first.task.header("request_id"), Some("r-1"));
    let order = taken.awaits(2).await.order;
    assert_eq!(
        (order.note.as_deref(), order.key.as_deref()),
        (Some("by position"), Some("by name"))
    );
    let order = taken.awaits(3).await.order;
    assert_eq!(order.key.as_deref(), Some("0192f0c1-7a5e-7c3a-9d4e-3f1b2a6c5d4e"));
    assert_eq!(order.placed_at.as_deref(), Some("2030-01-02T03:04:05+00:00"));
    assert_eq!(order.price.as_deref(), Some("19.90"));
    assert_eq!(taken.awaits(4).await.order.note, Some(large));
    let delayed = taken.awaits(5).await;
    assert_eq!(delayed.task.attempt(), 1);
    eventually("one is left", async || {
        let counts = broker.counts().await.unwrap();
        (counts.available, counts.running, counts.scheduled, counts.dead) == (0, 0, 1, 0)
    })
    .await;
    worker.stop().await;
    let mut numbers = taken.numbers();
    let place = |wanted| numbers.iter().position(|number| *number == wanted).unwrap();
    assert!(place(6) < place(9) && place(7) < place(6), "by priority: {numbers:?}");
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 9, 11], "not the expired, nor that of in an hour");
}

async fn what_rust_cannot_execute_is_a_dead_letter_that_says_why(version: Version) {
    let world = World::new();
    let after = json!({"task": "fleet.record", "queue": shop::QUEUE});
    let order = |number: i64| json!({"task": "shop.take_order", "queue": shop::QUEUE, "args": [{"number": number}]});
    let results = private_redis::Server::shared().database().url();
    let lines = [
        task(json!([{"number": 1}]), json!({"link": after})),
        task(json!([{"number": 2}]), json!({"link_error": after})),
        json!({"chain": [order(3), order(33)]}),
        json!({"chord": [order(4), order(4)], "body": after}),
        task(json!([1, 2, 3, 4, 5, 6]), json!({})),
        task(json!([{"no": "number"}]), json!({})),
        task(json!([{"number": 5}]), json!({"serializer": "yaml"})),
    ];
    let mut lines: Vec<_> = lines[..6].iter().map(ToString::to_string).collect();
    let not_json = r#"{"task": "shop.take_order", "queue": "shop", "args": [{"number": NaN}]}"#;
    lines.push(not_json.to_owned());
    let huge = r#"{"task": "shop.take_order", "queue": "shop", "args": [{"number": 1180591620717411303424}]}"#;
    lines.push(huge.to_owned());
    world.fleet(version).set("result_backend", results).publish(&lines);
    let broker = shop::broker(&world).await;
    let taken = Counter::open();
    let worker = Running::start(shop::worker(&broker, &taken).build().unwrap());
    let letters = dead_letters(&broker, 9).await;
    worker.stop().await;
    assert!(taken.all().is_empty());
    let reasons: Vec<_> =
        letters.iter().map(|it| format!("{} {}", it.payload, it.attempts[0].error)).collect();
    let said = |parts: [&str; 2]| {
        reasons.iter().filter(|reason| parts.iter().all(|part| reason.contains(part))).count()
    };
    for (number, times) in [(1, 1), (2, 1), (3, 1), (4, 2)] {
        let payload = format!("{{\"number\": {number}}}");
        assert_eq!(said([&payload, "other tasks hang on it"]), times, "{reasons:#?}");
    }
    assert_eq!(said(["6", "6 positional arguments"]), 1, "{reasons:#?}");
    assert_eq!(said(["nan", "NaN or Infinity"]), 1, "{reasons:#?}");
    assert_eq!(said(["\"no\"", "number"]), 1, "{reasons:#?}");
    assert_eq!(said(["1180591620717411303424", "number"]), 1, "{reasons:#?}");
}

async fn old_protocol_is_read(version: Version) {
    let world = World::new();
    let event_id = EventId::generate().to_string();
    world.fleet(version).set("task_protocol", 1).publish(&[
        task(json!([{"number": 1, "note": "fails once"}, event_id]), json!({})),
        task(json!([{"number": 2}]), json!({"countdown": 0.3})),
        task(json!([]), json!({"kwargs": {"number": 3}})),
        task(json!([{"number": 4}]), json!({"expires": "2020-01-01T00:00:00Z"})),
    ]);
    let broker = shop::broker(&world).await;
    let taken = Counter::open();
    crate::world::work_until_drained(shop::worker(&broker, &taken).build().unwrap()).await;
    let mut numbers = taken.numbers();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 1, 2, 3]);
    let again = taken.awaits(1).await;
    assert_eq!((again.task.event_id().to_string(), again.task.attempt()), (event_id, 2));
}
