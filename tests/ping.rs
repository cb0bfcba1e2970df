//! The canonical example: one event, one subscriber, one repository that publishes.

use events_core::broker::Admin;
use events_core::prelude::*;
use events_runtime::Worker;
use events_sqlx::{EventTransaction, Sqlite, SqliteQueue};
use events_testing::{assert_event_published, clear_pending_events, drain, published_events};

use crate::logs::Logs;
use crate::world::{Seen, events_in, sqlite, work_until_drained};

/// Somebody was pinged.
#[derive(Event, Debug, Clone, PartialEq)]
pub struct Pinged {
    pub name: String,
    pub count: u32,
}

/// What the repository stores, and where it publishes.
struct Pings;

impl Pings {
    #[publishes(Pinged)]
    async fn add(
        session: &mut EventTransaction<Sqlite>,
        name: &str,
        count: u32,
    ) -> Result<EventId, Box<dyn std::error::Error + Send + Sync>> {
        sqlx::query("INSERT INTO pings (name, count) VALUES (?, ?)")
            .bind(name)
            .bind(count)
            .execute(session.connection())
            .await?;
        Ok(publish_after_commit(session, Pinged { name: name.into(), count })?)
    }
}

type SeenPings = Seen<(Pinged, EventId)>;

#[subscribes_to(Pinged, freshness_only)]
async fn on_ping(event: Pinged, context: TaskContext, State(seen): State<SeenPings>) {
    assert_eq!(current_event_id(), Some(context.event_id()));
    seen.push((event, context.event_id()));
}

struct Program {
    events: Events,
    queue: SqliteQueue,
    seen: SeenPings,
    _folder: tempfile::TempDir,
}

impl Program {
    async fn start() -> Self {
        let events = events_in(module_path!());
        let (queue, folder) = sqlite(&events).await;
        sqlx::query("CREATE TABLE pings (name TEXT NOT NULL, count INTEGER NOT NULL)")
            .execute(queue.pool())
            .await
            .unwrap();
        Self { events, queue, seen: Seen::default(), _folder: folder }
    }

    async fn run_worker(&self) {
        let worker = Worker::builder(&self.events, self.queue.clone())
            .state(self.seen.clone())
            .build()
            .unwrap();
        work_until_drained(worker).await;
    }

    async fn stored(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM pings").fetch_one(self.queue.pool()).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_then_commit_runs_the_handler() {
    let program = Program::start().await;
    let mut session = program.queue.begin().await.unwrap();
    let id = Pings::add(&mut session, "ada", 1).await.unwrap();
    session.commit().await.unwrap();
    program.run_worker().await;
    // The id that publish returned is the one that the handler sees.
    assert_eq!(program.seen.all(), [(Pinged { name: "ada".into(), count: 1 }, id)]);
    assert_eq!(program.stored().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn rollback_does_not_run_the_handler() {
    let program = Program::start().await;
    let mut session = program.queue.begin().await.unwrap();
    Pings::add(&mut session, "ada", 1).await.unwrap();
    session.rollback().await.unwrap();
    program.run_worker().await;
    assert_eq!(program.seen.all(), []);
    assert_eq!(program.stored().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_session_does_not_run_the_handler() {
    let program = Program::start().await;
    let mut session = program.queue.begin().await.unwrap();
    Pings::add(&mut session, "ada", 1).await.unwrap();
    drop(session);
    program.run_worker().await;
    assert_eq!(program.seen.all(), []);
    assert_eq!(program.stored().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn publishes_of_one_transaction_arrive_in_order() {
    let program = Program::start().await;
    let mut session = program.queue.begin().await.unwrap();
    let mut ids = Vec::new();
    for count in 0..20 {
        ids.push(Pings::add(&mut session, "ada", count).await.unwrap());
    }
    session.commit().await.unwrap();
    let mut states = events_core::extract::States::new();
    states.insert(program.seen.clone());
    drain(&program.queue, &states).await.unwrap().assert_all_completed();
    let seen = program.seen.all();
    assert_eq!(
        seen.iter().map(|(ping, _)| ping.count).collect::<Vec<_>>(),
        (0..20).collect::<Vec<_>>()
    );
    assert_eq!(seen.iter().map(|(_, id)| *id).collect::<Vec<_>>(), ids);
}

#[tokio::test]
async fn assertion_sees_the_pending_event_before_the_commit() {
    let program = Program::start().await;
    let mut session = program.queue.begin().await.unwrap();
    let id = Pings::add(&mut session, "ada", 1).await.unwrap();
    Pings::add(&mut session, "bob", 2).await.unwrap();
    let found = assert_event_published!(session, Pinged { name, .. } if name == "ada", count = 1);
    assert_eq!(found, [Pinged { name: "ada".into(), count: 1 }]);
    assert_event_published!(session, Pinged { .. }, count = 2);
    assert_eq!(published_events(&session)[0].id, id);
    clear_pending_events(&mut session);
    assert!(published_events(&session).is_empty());
}

#[tokio::test]
#[should_panic(expected = "pending `suite.ping.Pinged`:\n  {\"name\":\"ada\",\"count\":1}")]
async fn assertion_shows_near_misses() {
    let program = Program::start().await;
    let mut session = program.queue.begin().await.unwrap();
    Pings::add(&mut session, "ada", 1).await.unwrap();
    assert_event_published!(session, Pinged { name, .. } if name == "bob");
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_switch_drops_and_logs_what_is_committed() {
    let program = Program::start().await;
    program.events.set_enabled(false);
    let (logs, guard) = Logs::capture();
    let mut session = program.queue.begin().await.unwrap();
    let id = Pings::add(&mut session, "ada", 1).await.unwrap();
    session.commit().await.unwrap();
    drop(guard);
    assert!(logs.has("WARN", &["kill switch", &id.to_string(), "suite.ping.Pinged"]), "{logs}");
    program.run_worker().await;
    assert_eq!(program.seen.all(), []);
    assert_eq!(program.stored().await, 1, "the state is committed all the same");

    program.events.set_enabled(true);
    let mut session = program.queue.begin().await.unwrap();
    Pings::add(&mut session, "ada", 2).await.unwrap();
    session.commit().await.unwrap();
    program.run_worker().await;
    assert_eq!(program.seen.all().len(), 1);
}

#[test]
fn marker_is_recorded_with_its_event_and_place() {
    let events = events_in(module_path!());
    let publishers = events.registry().publishers();
    assert_eq!(publishers.len(), 2, "{publishers:?}");
    let add = publishers.iter().find(|publisher| publisher.function == "add").unwrap();
    assert!(add.path().ends_with("ping::Pings::add"), "{}", add.path());
    assert!(add.location().starts_with("tests/ping.rs:"), "{}", add.location());
    assert_eq!(add.events.len(), 1);
    assert_eq!(add.events[0].event.name, Pinged::NAME);
    assert!(add.events[0].mentioned);
}

#[test]
fn task_name_is_the_event_path_and_the_subscriber_path() {
    let events = events_in(module_path!());
    let [subscriber] = events.registry().subscribers() else { panic!("one subscriber") };
    assert_eq!(subscriber.task, "events.suite.ping.Pinged.suite.ping.on_ping");
    assert!(std::ptr::eq(events.registry().subscriber(subscriber.task).unwrap(), *subscriber));
}

/// Nobody listens.
#[derive(Event)]
struct Whispered {}

#[publishes(Whispered)]
fn whisper(session: &mut impl Session) -> Result<EventId, PublishError> {
    publish_after_commit(session, Whispered {})
}

#[tokio::test]
async fn event_without_subscriber_warns_and_does_not_fail() {
    let program = Program::start().await;
    let (logs, guard) = Logs::capture();
    let mut session = program.queue.begin().await.unwrap();
    let id = whisper(&mut session).unwrap();
    session.commit().await.unwrap();
    drop(guard);
    assert!(
        logs.has("WARN", &["no subscriber", &id.to_string(), "suite.ping.Whispered"]),
        "{logs}"
    );
    assert!(program.queue.counts().await.unwrap().is_drained());
}

#[tokio::test(flavor = "multi_thread")]
async fn three_log_lines_tell_the_way_of_an_event() {
    let program = Program::start().await;
    let (logs, guard) = Logs::capture();
    let mut session = program.queue.begin().await.unwrap();
    let id = Pings::add(&mut session, "ada", 1).await.unwrap().to_string();
    session.commit().await.unwrap();
    let mut states = events_core::extract::States::new();
    states.insert(program.seen.clone());
    drain(&program.queue, &states).await.unwrap().assert_all_completed();
    drop(guard);
    let task = "events.suite.ping.Pinged.suite.ping.on_ping";
    assert!(
        logs.has("DEBUG", &["event published", &id, "suite.ping.Pinged", "tests/ping.rs:"]),
        "{logs}"
    );
    assert!(
        logs.has("DEBUG", &["event dispatched", &id, task, "task_id=", "queue=\"events\""]),
        "{logs}"
    );
    assert!(logs.has("DEBUG", &["task completed", &id, task, "attempt=1", "duration="]), "{logs}");
}
