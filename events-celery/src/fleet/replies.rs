//! What is done, and answered, when a worker is asked something.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use serde_json::{Value, json};

use super::node::Node;
use super::request::{Request, strings};
use super::{Fleet, events, inspect, mingle};
use crate::broker::Inner;

/// The answer of this worker, as Celery's clients show it.
pub(super) async fn answer(inner: &Arc<Inner>, node: &Node, request: &Request) -> Value {
    match request.method.as_str() {
        "scheduled" | "dump_schedule" => {
            let answer = inspect::scheduled(inner, node).await;
            answer.unwrap_or_else(|error| refused(error.to_string()))
        }
        _ => at_once(inner, node, request),
    }
}

fn ok(text: impl Into<String>) -> Value {
    json!({"ok": text.into()})
}

fn refused(reason: impl Into<String>) -> Value {
    json!({"error": reason.into()})
}

/// What needs no word with Redis.
fn at_once(inner: &Inner, node: &Node, request: &Request) -> Value {
    let fleet = &inner.fleet;
    let argument = |name: &str| request.arguments.get(name).unwrap_or(&Value::Null);
    match request.method.as_str() {
        "ping" => ok("pong"),
        "hello" => hello(fleet, node, argument("from_node"), argument("revoked")),
        "clock" => json!({"clock": fleet.clock.value()}),
        "stats" => inspect::stats(inner, node),
        "conf" | "dump_conf" => inspect::configuration(inner, node),
        "report" => ok(inspect::report(node)),
        "active_queues" => inspect::active_queues(node),
        "registered" | "dump_tasks" => inspect::registered(inner),
        "active" | "dump_active" => inspect::active(node, argument("safe") == true),
        "reserved" | "dump_reserved" => inspect::reserved(node),
        "query_task" => inspect::query(node, &strings(argument("ids"))),
        "revoked" | "dump_revoked" => {
            let revoked = fleet.revoked.list(Instant::now());
            revoked.iter().map(|id| Value::from(&**id)).collect()
        }
        "revoke" => revoke(fleet, node, argument("task_id"), argument("terminate") == true),
        "terminate" => revoke(fleet, node, argument("task_id"), true),
        "enable_events" => task_events(fleet, true),
        "disable_events" => task_events(fleet, false),
        "heartbeat" => beat(inner, node),
        "shutdown" => shut_down(fleet, node),
        "add_consumer" => add_consumer(node, argument("queue")),
        // It is about who acts for all: nobody here ever does.
        "election" => Value::Null,
        method => refused(refusal(method)),
    }
}

/// Why something is not done, and what to do instead.
fn refusal(method: &str) -> String {
    let reason = match method {
        "rate_limit" => {
            "rate limits are not supported by events-rs; limit the worker's concurrency, or give the tasks a queue of their own"
        }
        "time_limit" => {
            "the time limit of a task is declared at its subscriber; change `timeout` there and start the worker anew"
        }
        "pool_grow" | "pool_shrink" | "autoscale" => {
            "the concurrency of this worker is fixed; change it in the program and start it anew, or start more workers"
        }
        "pool_restart" => "there is no pool of processes to restart; start the program anew",
        "cancel_consumer" => {
            "the queues of this worker are fixed; start it anew with others (Worker::builder(…).queues(…))"
        }
        "revoke_by_stamped_headers" => {
            "events-rs does not look at stamps; revoke the tasks by their ids"
        }
        "objgraph" | "memsample" | "memdump" => "this worker is not written in Python",
        other => return format!("events-rs does not know the command `{other}`"),
    };
    reason.to_owned()
}

/// Another worker has come: who asks tells what it knows, and is told what is known here.
fn hello(fleet: &Fleet, node: &Node, from: &Value, revoked: &Value) -> Value {
    if *from == *node.name || *from == *fleet.name {
        return Value::Null;
    }
    mingle::merge(fleet, revoked);
    let revoked = fleet.revoked.list(Instant::now());
    let revoked: Vec<&str> = revoked.iter().map(|id| &**id).collect();
    json!({"revoked": revoked, "clock": fleet.clock.forward()})
}

fn revoke(fleet: &Fleet, node: &Node, ids: &Value, terminate: bool) -> Value {
    let ids = strings(ids);
    fleet.revoked.add(ids.iter().map(String::as_str), Instant::now());
    tracing::info!(node = node.name, ?ids, "tasks flagged as revoked");
    let is_active = |id: &&String| inspect::is_active(node, id);
    let running: Vec<_> = ids.iter().filter(is_active).map(String::as_str).collect();
    if terminate && !running.is_empty() {
        return refused(format!(
            "{} runs here and is not terminated, for a handler in Rust cannot be killed; it is not tried again if it fails. Give its subscriber a `timeout`",
            running.join(", ")
        ));
    }
    ok(format!("tasks {} flagged as revoked", ids.join(", ")))
}

fn task_events(fleet: &Fleet, on: bool) -> Value {
    let was_on = fleet.task_events.swap(on, Ordering::Relaxed);
    let word = if on { "enabled" } else { "disabled" };
    match was_on == on {
        true => ok(format!("task events already {word}")),
        false => {
            tracing::info!(on, "telling of tasks was switched by remote control");
            ok(format!("task events {word}"))
        }
    }
}

fn shut_down(fleet: &Fleet, node: &Node) -> Value {
    if fleet.shutdown.receiver_count() == 0 {
        tracing::warn!(
            node = node.name,
            "remote control asks this program to end, and nobody listens: wait for CeleryBroker::shutdown_requested beside your signals"
        );
        return refused(
            "this program does not listen to requests to end (CeleryBroker::shutdown_requested); send its process a signal",
        );
    }
    tracing::warn!(node = node.name, "remote control asks this program to end");
    fleet.shutdown.send_replace(true);
    ok("the program was told to end")
}

fn add_consumer(node: &Node, queue: &Value) -> Value {
    match queue.as_str() {
        Some(queue) if node.queues.iter().any(|known| known == queue) => {
            ok(format!("already consuming from {queue}"))
        }
        _ => refused(
            "the queues of this worker are fixed; start one with this queue (Worker::builder(…).queues(…))",
        ),
    }
}

fn beat(inner: &Inner, node: &Node) -> Value {
    let alive = events::of_worker("worker-heartbeat", node, inner.events.now());
    // If there is no room, monitors hear enough.
    inner.fleet.announcements.try_send(alive).ok();
    Value::Null
}
