//! What a worker tells of itself when it is asked, in the shapes that `celery inspect` and Flower expect.

use std::sync::atomic::Ordering;

use events_core::Timestamp;
use serde_json::{Map, Value, json};

use super::events::epoch_seconds;
use super::node::Node;
use super::system;
use crate::broker::Inner;
use crate::error::CeleryError;
use crate::lease::Held;
use crate::message::{Message, iso_time, shown};
use crate::score::from_micros;
use crate::tag::Kind;
use crate::unacked::entries;

/// Of what a worker holds, so many at most are told: who asks looks at them on one page.
const MOST_HELD: usize = 1000;

/// More of what waits for its time is not told.
const MOST_SCHEDULED: isize = 1000;

/// The priority of everything in Celery's own timer.
const TIMER_PRIORITY: u8 = 6;

pub(super) fn stats(inner: &Inner, node: &Node) -> Value {
    let fleet = &inner.fleet;
    let total: Map<_, _> =
        node.totals().map(|(task, total)| (task.to_owned(), total.into())).collect();
    let mut stats = json!({
        "total": total,
        "pid": std::process::id(),
        "clock": fleet.clock.value().to_string(),
        "uptime": fleet.since.elapsed().as_secs(),
        "pool": {
            "implementation": format!("{}:tokio", system::IDENTITY),
            "max-concurrency": node.concurrency(),
        },
        "broker": broker(inner),
        "prefetch_count": node.prefetch(),
        "sw_ident": system::IDENTITY,
        "sw_ver": system::VERSION,
        "events_dropped": fleet.dropped.load(Ordering::Relaxed),
    });
    stats["rusage"] = system::usage().unwrap_or_else(|| "N/A".into());
    stats
}

/// Where the broker is; not as whom, and not with which password.
fn broker(inner: &Inner) -> Value {
    let (hostname, port, tls) = inner.link.source().endpoint();
    json!({
        "transport": "redis",
        "hostname": hostname,
        "port": port,
        "virtual_host": inner.link.source().database().to_string(),
        "ssl": tls,
        "transport_options": transport_options(inner),
    })
}

fn transport_options(inner: &Inner) -> Value {
    let options = &inner.options;
    let mut found = json!({"visibility_timeout": options.visibility_timeout.as_secs()});
    if !options.prefix.is_empty() {
        found["global_keyprefix"] = (*options.prefix).into();
    }
    found
}

/// What this worker has for Celery's settings of these names.
pub(super) fn configuration(inner: &Inner, node: &Node) -> Value {
    let settings = inner.events.settings();
    let results = inner.options.results.as_ref();
    json!({
        "accept_content": ["json"],
        "broker_transport_options": transport_options(inner),
        "enable_utc": true,
        "result_expires": results.and_then(|results| results.expire_seconds),
        "result_serializer": "json",
        "task_acks_late": true,
        "task_default_queue": settings.default_queue,
        "task_ignore_result": results.is_none(),
        "task_reject_on_worker_lost": true,
        "task_serializer": "json",
        "task_time_limit": settings.timeout.as_secs_f64(),
        "timezone": "UTC",
        "worker_concurrency": node.concurrency(),
        "worker_send_task_events": inner.fleet.tells_of_tasks(),
    })
}

pub(super) fn report(node: &Node) -> String {
    format!(
        "software -> {}:{} os:{} architecture:{}\nworker -> {} pid:{} concurrency:{}",
        system::IDENTITY,
        system::VERSION,
        system::system(),
        std::env::consts::ARCH,
        node.name,
        std::process::id(),
        node.concurrency(),
    )
}

pub(super) fn active_queues(node: &Node) -> Value {
    let queue = |name: &String| {
        json!({
            "name": name,
            "exchange": {
                "name": name,
                "type": "direct",
                "arguments": null,
                "durable": true,
                "passive": false,
                "auto_delete": false,
                "delivery_mode": null,
                "no_declare": false,
            },
            "routing_key": name,
            "queue_arguments": null,
            "binding_arguments": null,
            "consumer_arguments": null,
            "durable": true,
            "exclusive": false,
            "auto_delete": false,
            "no_ack": false,
            "alias": null,
            "bindings": [],
            "no_declare": null,
            "expires": null,
            "message_ttl": null,
            "max_length": null,
            "max_length_bytes": null,
            "max_priority": null,
        })
    };
    node.queues.iter().map(queue).collect()
}

/// The names of the tasks that this program can run: not of those that it only publishes for others.
pub(super) fn registered(inner: &Inner) -> Value {
    let subscribers = inner.events.registry().local_subscribers();
    let mut names: Vec<_> = subscribers.map(|subscriber| subscriber.task).collect();
    names.sort_unstable();
    names.into()
}

/// What runs; with texts instead of the arguments if they are to be shown only.
pub(super) fn active(node: &Node, shown_only: bool) -> Value {
    let held = node.held();
    let running = held.iter().filter(|held| held.started.get().is_some());
    running.take(MOST_HELD).map(|held| of_held(node, held, shown_only)).collect()
}

/// What is claimed and does not run yet.
pub(super) fn reserved(node: &Node) -> Value {
    let held = node.held();
    let waiting = held.iter().filter(|held| held.started.get().is_none());
    waiting.take(MOST_HELD).map(|held| of_held(node, held, false)).collect()
}

pub(super) fn is_active(node: &Node, id: &str) -> bool {
    node.held().iter().any(|held| held.message.id == id && held.started.get().is_some())
}

pub(super) fn query(node: &Node, ids: &[String]) -> Value {
    let mut found = Map::new();
    for held in node.held() {
        if ids.contains(&held.message.id) {
            let state = if held.started.get().is_some() { "active" } else { "reserved" };
            found.insert(held.message.id.clone(), json!([state, of_held(node, &held, false)]));
        }
    }
    Value::Object(found)
}

fn of_held(node: &Node, held: &Held, shown_only: bool) -> Value {
    request(node, &held.message, &held.queue, held.started.get(), shown_only)
}

/// A task as Celery tells of it.
fn request(
    node: &Node,
    message: &Message,
    queue: &str,
    started: Option<Timestamp>,
    shown_only: bool,
) -> Value {
    let (positional, named) = message.call.arguments();
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap_or(Value::Null);
    let (args, kwargs) = match shown_only {
        true => (shown(&positional).into(), shown(&named).into()),
        false => (json(&positional), json(&named)),
    };
    json!({
        "id": message.id,
        "name": message.name,
        "args": args,
        "kwargs": kwargs,
        "type": message.name,
        "hostname": node.name,
        "time_start": started.map(epoch_seconds),
        "acknowledged": false,
        "delivery_info": {
            "exchange": "",
            "routing_key": queue,
            "priority": message.priority,
            "redelivered": message.rescued > 0,
        },
        "worker_pid": std::process::id(),
    })
}

/// What waits for its time in the worker's queues. It waits in Redis, so every worker of these queues
/// tells the same.
pub(super) async fn scheduled(inner: &Inner, node: &Node) -> Result<Value, CeleryError> {
    let mut command = redis::cmd("ZRANGE");
    command.arg(&inner.keys.scheduled).arg(0).arg(MOST_SCHEDULED - 1).arg("WITHSCORES");
    let found: Vec<(String, f64)> = inner.link.command("tell what waits", &command).await?;
    // What is put back for others waits for no time of its own.
    let found = found.into_iter().filter(|(tag, _)| Kind::of(tag) != Some(Kind::Back));
    let (tags, times): (Vec<String>, Vec<f64>) = found.unzip();
    let waiting = entries(inner, &tags).await?.into_iter().zip(times);
    let told = waiting.filter_map(|((_, entry), micros)| {
        let entry = entry.filter(|entry| node.queues.contains(&entry.routing_key))?;
        let message = Message::read(&entry.message).ok()?;
        Some(json!({
            "eta": iso_time(from_micros(micros)),
            "priority": TIMER_PRIORITY,
            "request": request(node, &message, &entry.routing_key, None, false),
        }))
    });
    Ok(told.collect())
}
