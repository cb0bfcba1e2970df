//! Rust publishes, Python executes.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use celery_fleet::{Fleet, PythonWorker, Record, Version};
use events_celery::CelerySession;
use events_core::Registry;
use events_core::prelude::*;
use serde_json::{Value, json};

use crate::celery::world::{World, eventually, solo};

of_both_versions! {
    python_gets_the_payload_as_it_was_published_the_event_id_and_the_trace,
    python_waits_until_a_delayed_task_is_due,
    python_executes_in_the_order_of_priorities,
}

#[derive(Event, Clone)]
struct LetterWritten {
    text: String,
    large: u64,
    small: i64,
    ratio: f64,
    nested: Option<Nested>,
    lists: BTreeMap<String, Vec<Vec<Option<bool>>>>,
}

#[derive(Event, Clone)]
struct Nested {
    depth: u32,
    inner: Option<Box<Nested>>,
}

#[derive(Event)]
struct ReminderSet {
    number: u32,
}

#[derive(Event)]
struct Ranked {}

#[publishes(LetterWritten)]
fn write(session: &mut impl Session, letter: &LetterWritten) -> EventId {
    publish_after_commit(session, letter.clone()).unwrap()
}

#[publishes(ReminderSet)]
fn remind(session: &mut impl Session, number: u32) -> EventId {
    publish_after_commit(session, ReminderSet { number }).unwrap()
}

#[publishes(Ranked)]
fn rank(session: &mut impl Session) {
    publish_after_commit(session, Ranked {}).unwrap();
}

foreign_subscriber! { event = LetterWritten, task = "fleet.record", queue = "letters", freshness_only }
foreign_subscriber! { event = ReminderSet, task = "fleet.echo", queue = "letters", delay = "500ms", freshness_only }
foreign_subscriber! { event = Ranked, task = "ranked.a", queue = "ranked", priority = 30, freshness_only }
foreign_subscriber! { event = Ranked, task = "ranked.b", queue = "ranked", priority = 8, freshness_only }
foreign_subscriber! { event = Ranked, task = "ranked.c", queue = "ranked", priority = 3, freshness_only }
foreign_subscriber! { event = Ranked, task = "ranked.d", queue = "ranked", freshness_only }
foreign_subscriber! { event = Ranked, task = "ranked.e", queue = "ranked", priority = -7, freshness_only }

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn events() -> Events {
    let registry = Registry::builder().linked_in(module_path!()).build().unwrap();
    let trace = || Some(TRACE.to_owned());
    Events::builder().registry(registry).trace_context(trace).build().unwrap()
}

/// A Python worker that several tests use: it takes a while to start.
struct Shared {
    world: World,
    fleet: Fleet,
    _worker: PythonWorker,
}

impl Shared {
    fn of(version: Version) -> &'static Self {
        static NEWEST: LazyLock<Shared> = LazyLock::new(|| Shared::start(Version::Newest));
        static OLD: LazyLock<Shared> = LazyLock::new(|| Shared::start(Version::Old));
        match version {
            Version::Newest => &NEWEST,
            Version::Old => &OLD,
        }
    }

    fn start(version: Version) -> Self {
        let world = World::new();
        let fleet = world.fleet(version);
        let worker = fleet.worker(&solo("letters"));
        Self { world, fleet, _worker: worker }
    }

    async fn publish<T>(&self, publish: impl FnOnce(&mut CelerySession) -> T) -> T {
        let broker = self.world.broker(&events()).await;
        let mut session = broker.begin();
        let published = publish(&mut session);
        session.commit().await.unwrap();
        published
    }

    /// What Python has seen of this event.
    async fn record_of(&self, event: EventId) -> Record {
        let id = event.to_string();
        let of_event = |record: &Record| record.arguments().get(1) == Some(&json!(id));
        let mut found = None;
        eventually("executed in Python", async || {
            found = self.fleet.records().into_iter().find(of_event);
            found.is_some()
        })
        .await;
        found.unwrap()
    }
}

fn letters() -> Vec<LetterWritten> {
    let plain = LetterWritten {
        text: "hello".into(),
        large: u64::MAX,
        small: i64::MIN,
        ratio: 0.1,
        nested: None,
        lists: BTreeMap::from([("a".into(), vec![vec![Some(true), None], vec![]])]),
    };
    let nested =
        (0..100).fold(None, |inner, depth| Some(Nested { depth, inner: inner.map(Box::new) }));
    vec![
        LetterWritten {
            text: "grüße 😀 \u{1F469}\u{200D}\u{1F680} \"quoted\" 'single' \\ / \u{1} \u{7f} \u{2028} \n\t \u{0} {} %s".into(),
            ..plain.clone()
        },
        LetterWritten { text: "é'\"\\".repeat(6_000), ..plain.clone() },
        LetterWritten { nested, ..plain },
    ]
}

async fn python_gets_the_payload_as_it_was_published_the_event_id_and_the_trace(version: Version) {
    let shared = Shared::of(version);
    let letters = letters();
    let publish = |session: &mut _| letters.iter().map(|it| write(session, it)).collect::<Vec<_>>();
    let ids = shared.publish(publish).await;
    for (letter, id) in letters.iter().zip(ids) {
        let record = shared.record_of(id).await;
        let payload: Value =
            serde_json::from_str(&events_core::event::encode(letter).unwrap()).unwrap();
        assert_eq!(record.args, json!([payload, id.to_string()]));
        assert_eq!(record.kwargs, json!({}));
        assert_eq!(record.headers.as_ref().unwrap()["traceparent"], TRACE);
        assert_eq!((record.retries, record.redelivered), (0, false));
        assert_eq!(record.queue.as_deref(), Some("letters"));
        assert_eq!(record.correlation_id.as_deref(), Some(&*record.id));
    }
}

async fn python_waits_until_a_delayed_task_is_due(version: Version) {
    let shared = Shared::of(version);
    let before = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    let id = shared.publish(|session| remind(session, 7)).await;
    let record = shared.record_of(id).await;
    assert!(record.at >= before + 0.5, "it was executed {} s later", record.at - before);
    assert!(record.eta.is_some());
}

async fn python_executes_in_the_order_of_priorities(version: Version) {
    let world = World::new();
    let broker = world.broker(&events()).await;
    let mut session = broker.begin();
    rank(&mut session);
    session.commit().await.unwrap();
    let fleet =
        world.fleet(version).tasks(["ranked.a", "ranked.b", "ranked.c", "ranked.d", "ranked.e"]);
    let _worker = fleet.worker(&solo("ranked"));
    let records = fleet.wait_for_records(5);
    let seen: Vec<_> = records.iter().map(|it| (&*it.name, it.priority)).collect();
    let order = [("e", 0), ("d", 0), ("c", 3), ("b", 8), ("a", 9)];
    let order = order.map(|(name, priority)| (format!("ranked.{name}"), Some(priority)));
    assert_eq!(seen, order.each_ref().map(|(name, priority)| (&**name, *priority)));
}
