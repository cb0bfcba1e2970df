//! What the workers of this process tell: that they live, and what becomes of their tasks.

use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::Duration;

use events_core::Timestamp;
use events_core::lifecycle::Next;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, interval, timeout, timeout_at};

use super::envelope::{Fields, wrap};
use super::node::Node;
use super::{Clock, system};
use crate::broker::Inner;
use crate::end::{Dropped, End};
use crate::keys::Keys;
use crate::lease::Held;
use crate::message::{Message, Object, json_text, shown};
use crate::tag::Kind;

/// Between two heartbeats; as Celery's.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(2);

/// What waits to be sent: beyond that, task events are dropped.
pub(super) const MOST_WAITING: usize = 8192;

/// How long a task event waits for company.
const LINGER: Duration = Duration::from_millis(50);

/// The most events that go as one message.
const MOST_AT_ONCE: usize = 100;

/// The most that one trip to Redis takes.
const MOST_TAKEN: usize = 1000;

/// Between two warnings.
const WARN_EVERY: Duration = Duration::from_mins(1);

const EXCHANGE: &str = "celeryev";

/// An event, without its number, which it gets when it is sent.
pub(super) type Event = Fields;

/// What is on its way to Redis.
#[derive(Debug)]
pub(super) enum Announcement {
    Worker(Event),
    Task(Event),
    /// Answered when all that came before it was sent, or given up.
    Mark(oneshot::Sender<()>),
}

/// Seconds since the epoch, as Python's `time.time()`.
pub(super) fn epoch_seconds(time: Timestamp) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "microseconds of this age are exact")]
    let micros = time.as_micros() as f64;
    micros / 1e6
}

/// What every event says. No `utcoffset`: with it, receivers shift the time by the difference between the
/// two time zones, though it does not depend on them.
fn event(kind: &str, node: &Node, now: Timestamp, fields: Value) -> Event {
    let mut event = match fields {
        Value::Object(fields) => fields,
        _ => Event::new(),
    };
    event.insert("type".into(), kind.into());
    event.insert("hostname".into(), (*node.name).into());
    event.insert("pid".into(), std::process::id().into());
    event.insert("timestamp".into(), epoch_seconds(now).into());
    event
}

pub(super) fn of_worker(kind: &str, node: &Node, now: Timestamp) -> Announcement {
    let fields = json!({
        "freq": HEARTBEAT.as_secs_f64(),
        "active": node.active(),
        "processed": node.processed(),
        "loadavg": system::load_average(),
        "sw_ident": system::IDENTITY,
        "sw_ver": system::VERSION,
        "sw_sys": system::system(),
    });
    Announcement::Worker(event(kind, node, now, fields))
}

/// `text` is the message as it came.
pub(super) fn received(node: &Node, message: &Message, text: &str, now: Timestamp) -> Event {
    let envelope = Object::parse(text).unwrap_or_default();
    let headers = envelope.raw("headers").unwrap_or("{}");
    let headers = Object::parse(headers).unwrap_or_default();
    let (positional, named) = message.call.arguments();
    let fields = json!({
        "uuid": message.id,
        "name": message.name,
        // Python counts on texts here: Flower shows them as they are.
        "args": headers.text("argsrepr").unwrap_or_else(|| shown(&positional)),
        "kwargs": headers.text("kwargsrepr").unwrap_or_else(|| shown(&named)),
        "root_id": headers.text("root_id"),
        "parent_id": headers.text("parent_id"),
        "retries": message.retries,
        "eta": headers.text("eta"),
        "expires": headers.text("expires"),
    });
    event("task-received", node, now, fields)
}

pub(super) fn started(node: &Node, id: &str, now: Timestamp) -> Event {
    of_task("task-started", node, id, now, Value::Null)
}

/// How an execution ended.
pub(super) fn ended(node: &Node, held: &Held, next: &Next, now: Timestamp) -> Event {
    let (kind, fields) = match next {
        Next::Complete => {
            let runtime = held.started.get().map(|started| now.since(started).as_secs_f64());
            ("task-succeeded", json!({"result": "None", "runtime": runtime}))
        }
        Next::Retry { error, .. } => ("task-retried", failure(error)),
        Next::Bury { error } => ("task-failed", failure(error)),
        Next::Release { .. } => ("task-rejected", json!({"requeue": true})),
    };
    of_task(kind, node, &held.message.id, now, fields)
}

fn of_task(kind: &str, node: &Node, id: &str, now: Timestamp, fields: Value) -> Event {
    let mut event = event(kind, node, now, fields);
    event.insert("uuid".into(), id.into());
    event
}

fn failure(error: &str) -> Value {
    json!({"exception": format!("HandlerError({})", quoted(error)), "traceback": error})
}

/// A text as Python shows it.
fn quoted(text: &str) -> String {
    shown(&json_text(text))
}

/// Of a message that was claimed and is not to be run here and now. Of those that others are to run,
/// nothing: they will tell.
pub(super) fn of_set_aside(node: &Node, end: &End, now: Timestamp) -> Vec<Event> {
    let (text, fate) = match end {
        End::Drop { text, why } => {
            let expired = *why == Dropped::Expired;
            let fields = json!({"terminated": false, "signum": null, "expired": expired});
            (&**text, Some(("task-revoked", fields)))
        }
        End::Bury(record) => (record.message(), Some(("task-failed", failure(record.error())))),
        End::Wait { tag, text, .. } if Kind::of(tag) == Some(Kind::Eta) => (&**text, None),
        _ => return Vec::new(),
    };
    let Ok(message) = Message::read(text) else { return Vec::new() };
    let mut events = vec![received(node, &message, text, now)];
    events.extend(fate.map(|(kind, fields)| of_task(kind, node, &message.id, now, fields)));
    events
}

/// Tells every two seconds that the workers of this process live.
pub(super) async fn beat(inner: Weak<Inner>) {
    let mut beats = interval(HEARTBEAT);
    beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    beats.tick().await; // the first comes at once
    loop {
        beats.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        for node in inner.fleet.nodes() {
            let alive = of_worker("worker-heartbeat", &node, inner.events.now());
            timeout(HEARTBEAT, inner.fleet.announcements.send(alive)).await.ok();
        }
    }
}

/// Sends what is told, in its order.
pub(super) async fn send(inner: Weak<Inner>, announced: &mut mpsc::Receiver<Announcement>) {
    let mut taken = Vec::new();
    let mut complaint = Complaint::default();
    while announced.recv_many(&mut taken, MOST_TAKEN).await > 0 {
        let deadline = Instant::now() + LINGER;
        while taken.len() < MOST_TAKEN
            && taken.iter().all(|one| matches!(one, Announcement::Task(_)))
        {
            let room = MOST_TAKEN - taken.len();
            match timeout_at(deadline, announced.recv_many(&mut taken, room)).await {
                Ok(received) if received > 0 => {}
                _ => break,
            }
        }
        let Some(inner) = inner.upgrade() else { return };
        let fleet = &inner.fleet;
        let mut pipeline = redis::pipe();
        for (channel, text) in pack(&taken, &fleet.clock, &inner.keys) {
            pipeline.publish(channel, text).ignore();
        }
        if !pipeline.is_empty()
            && let Err(error) = fleet.link.pipeline::<()>("tell of tasks", &pipeline).await
        {
            tracing::debug!(error = &error as &dyn std::error::Error, "events were not told");
            let tasks = taken.iter().filter(|one| matches!(one, Announcement::Task(_))).count();
            fleet.dropped.fetch_add(tasks as u64, Ordering::Relaxed);
        }
        for one in taken.drain(..) {
            if let Announcement::Mark(sent) = one {
                sent.send(()).ok();
            }
        }
        complaint.look(fleet.dropped.load(Ordering::Relaxed));
    }
}

/// Says now and then that events were dropped.
#[derive(Default)]
struct Complaint {
    told: u64,
    last: Option<Instant>,
}

impl Complaint {
    fn look(&mut self, dropped: u64) {
        if dropped > self.told && self.last.is_none_or(|last| last.elapsed() >= WARN_EVERY) {
            tracing::warn!(
                events = dropped - self.told,
                "events of tasks were not told, for Redis was away or could not follow; monitors do not see these tasks, which are run all the same"
            );
            (self.told, self.last) = (dropped, Some(Instant::now()));
        }
    }
}

/// The messages, each with its channel: one for each word of a worker, and one for many tasks of one.
fn pack(taken: &[Announcement], clock: &Clock, keys: &Keys) -> Vec<(String, String)> {
    let mut messages = Vec::new();
    let mut tasks: Vec<Value> = Vec::new();
    let flush = |tasks: &mut Vec<Value>, messages: &mut Vec<_>| {
        if !tasks.is_empty() {
            let events = Value::Array(std::mem::take(tasks));
            messages.push(message("task.multi", &events, keys));
        }
    };
    for one in taken {
        match one {
            Announcement::Task(event) => {
                let hostname = |event: &Value| event["hostname"].clone();
                let other = tasks.last().is_some_and(|last| hostname(last) != event["hostname"]);
                if other || tasks.len() >= MOST_AT_ONCE {
                    flush(&mut tasks, &mut messages);
                }
                tasks.push(numbered(event, clock));
            }
            Announcement::Worker(event) => {
                flush(&mut tasks, &mut messages);
                let kind = event["type"].as_str().unwrap_or_default().replace('-', ".");
                messages.push(message(&kind, &numbered(event, clock), keys));
            }
            Announcement::Mark(_) => {}
        }
    }
    flush(&mut tasks, &mut messages);
    messages
}

fn numbered(event: &Event, clock: &Clock) -> Value {
    let mut event = event.clone();
    event.insert("clock".into(), clock.forward().into());
    Value::Object(event)
}

fn message(routing_key: &str, body: &Value, keys: &Keys) -> (String, String) {
    let hostname = body.get("hostname").or_else(|| body.get(0)?.get("hostname"));
    let headers = json!({"hostname": hostname});
    let text = wrap(body, &headers, EXCHANGE, routing_key);
    (keys.fanout(&format!("{EXCHANGE}/{routing_key}")), text)
}

#[cfg(test)]
mod tests;
