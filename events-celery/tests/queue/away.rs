//! A Redis that is away: whoever cannot send is told why, and not only that.

use std::sync::mpsc;
use std::time::Duration;

use events_celery::{CeleryOptions, CeleryTransport};
use events_core::transport::{Transport, TransportError};
use events_core::{EventId, Task, TaskId, Timestamp};
use events_testing::ManualClock;
use futures_util::FutureExt;
use private_redis::{Server, Settings};

use crate::world::{causes, events};

/// Several batches of a transport.
fn tasks() -> Vec<Task> {
    let task = |number: usize| Task {
        id: TaskId::generate(),
        event_id: EventId::generate(),
        event: "e".into(),
        name: "t".into(),
        queue: format!("mail{}", number % 2).into(),
        priority: 0,
        payload: format!(r#"{{"text":"{}"}}"#, "x".repeat(10_000)).into(),
        headers: events_core::task::Headers::new(),
        published_at: Timestamp::default(),
        due_at: Timestamp::default(),
        debounce: None,
    };
    (0..50).map(task).collect()
}

/// None was sent, each may be sent later, and this is why.
fn all_wait(tasks: &[Task], sent: Result<(), TransportError>, why: &str) {
    let unsent = sent.unwrap_err().into_unsent();
    let ids = |of: &[&Task]| of.iter().map(|task| task.id).collect::<Vec<_>>();
    let left: Vec<_> = unsent.iter().map(|unsent| &unsent.task).collect();
    assert_eq!(ids(&left), ids(&tasks.iter().collect::<Vec<_>>()), "all, in their order");
    for unsent in unsent {
        let causes = causes(&*unsent.error);
        assert!(unsent.retryable && causes.contains(why), "{causes}");
    }
}

#[tokio::test]
async fn tasks_that_wait_say_that_nobody_listens() {
    let server = Server::start(Settings::default()).unwrap();
    server.stop().unwrap();
    let transport =
        CeleryTransport::connect_lazy(&server.url(), &events(&ManualClock::new())).unwrap();
    let tasks = tasks();
    // Those who wait for the same connection are told the same.
    let sent = tokio::join!(transport.send(tasks.clone()), transport.send(tasks.clone()));
    all_wait(&tasks, sent.0, "Connection refused");
    all_wait(&tasks, sent.1, "Connection refused");
}

#[tokio::test]
async fn tasks_that_wait_say_that_redis_does_not_answer() {
    let server = Server::start(Settings::default()).unwrap();
    let options = CeleryOptions::new().response_timeout(Duration::ZERO);
    let events = events(&ManualClock::new());
    let transport = options.connect_transport(&server.url(), &events).await.unwrap();
    server.suspend().unwrap();
    let tasks = tasks();
    all_wait(&tasks, transport.send(tasks.clone()).await, "timed out");
    server.resume().unwrap();
}

#[tokio::test]
async fn tasks_that_wait_say_what_redis_answers() {
    let settings = Settings::default().user("worker", "right", "~* &* +@all");
    let server = Server::start(settings).unwrap();
    let url = server.database().url_as("worker", "wrong");
    let transport = CeleryTransport::connect_lazy(&url, &events(&ManualClock::new())).unwrap();
    let tasks = tasks();
    all_wait(&tasks, transport.send(tasks.clone()).await, "check the user and the password");
}

#[tokio::test]
async fn error_tells_whether_another_try_may_help() {
    let server = Server::start(Settings { password: Some("right".into()), ..Settings::default() });
    let server = server.unwrap();
    let events = events(&ManualClock::new());
    let denied = format!("redis://:wrong@127.0.0.1:{}/0", server.port());
    let denied = CeleryTransport::connect(&denied, &events).await.unwrap_err();
    assert!(!denied.is_unreachable(), "{denied}");
    server.stop().unwrap();
    let away = CeleryTransport::connect(&server.url(), &events).await.unwrap_err();
    assert!(away.is_unreachable(), "{away}");
}

/// Such a runtime takes no tasks, and connecting is one.
#[test]
fn send_on_a_runtime_that_has_ended_is_told_and_does_not_hang() {
    let server = Server::start(Settings::default()).unwrap();
    let events = events(&ManualClock::new());
    let transport = CeleryTransport::connect_lazy(&server.url(), &events).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ended = runtime.handle().clone();
    drop(runtime);
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let _entered = ended.enter();
        let sent = transport.send(tasks().into_iter().take(1).collect()).now_or_never();
        tell.send(sent.is_some_and(|sent| sent.is_err()))
    });
    assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(true));
}
