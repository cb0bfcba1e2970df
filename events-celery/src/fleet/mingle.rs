//! Asks the others which tasks are revoked, as every worker of Celery does when it starts.

use std::sync::Weak;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;
use uuid::Uuid;

use super::Fleet;
use super::control::{EXCHANGE, REPLY_EXPIRES_SECONDS};
use super::envelope::{unwrap, wrap};
use crate::broker::Inner;
use crate::error::CeleryError;
use crate::keys::Binding;

pub(super) const REPLY_EXCHANGE: &str = "reply.celery.pidbox";

/// Celery's workers wait so long for answers.
const PATIENCE: Duration = Duration::from_secs(1);

/// Between two looks for answers.
const LOOK: Duration = Duration::from_millis(100);

const ACTION: &str = "ask the other workers";

/// In the background: nothing waits for it.
pub(super) async fn ask_others(inner: Weak<Inner>) {
    let Some(found) = inner.upgrade() else { return };
    if let Err(error) = ask(&found).await {
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "other workers could not be asked which tasks are revoked"
        );
    }
}

async fn ask(inner: &Inner) -> Result<(), CeleryError> {
    let fleet = &inner.fleet;
    let routing_key = Uuid::now_v7().to_string();
    let queue = format!("{routing_key}.{REPLY_EXCHANGE}");
    let list = format!("{}{queue}", inner.keys.prefix);
    let binding = inner.keys.binding(REPLY_EXCHANGE);
    let member = Binding::direct(&routing_key, &queue).to_string();
    let hello = hello(fleet, &routing_key);
    let mut pipeline = redis::pipe();
    pipeline.sadd(&binding, &member).ignore();
    pipeline.publish(inner.keys.fanout(EXCHANGE), hello).ignore();
    fleet.link.pipeline::<()>(ACTION, &pipeline).await?;
    let heard = hear(inner, &list).await;
    let mut pipeline = redis::pipe();
    pipeline.srem(&binding, &member).ignore();
    // One that comes late must not stay for ever.
    pipeline.expire(&list, REPLY_EXPIRES_SECONDS).ignore();
    fleet.link.pipeline::<()>(ACTION, &pipeline).await?;
    heard
}

fn hello(fleet: &Fleet, routing_key: &str) -> String {
    let revoked = fleet.revoked.list(Instant::now());
    let revoked: Vec<&str> = revoked.iter().map(|id| &**id).collect();
    let request = json!({
        "method": "hello",
        "arguments": {"from_node": fleet.name, "revoked": revoked},
        "destination": null,
        "pattern": null,
        "matcher": null,
        "ticket": Uuid::now_v7().to_string(),
        "reply_to": {"exchange": REPLY_EXCHANGE, "routing_key": routing_key},
    });
    let headers = json!({"clock": fleet.clock.forward(), "expires": 0});
    wrap(&request, &headers, EXCHANGE, "")
}

async fn hear(inner: &Inner, list: &str) -> Result<(), CeleryError> {
    let asked = Instant::now();
    while asked.elapsed() < PATIENCE {
        sleep(LOOK).await;
        let mut command = redis::cmd("RPOP");
        command.arg(list).arg(100);
        let answers: Option<Vec<Vec<u8>>> = inner.fleet.link.command(ACTION, &command).await?;
        for answer in answers.unwrap_or_default() {
            note(&inner.fleet, &answer);
        }
    }
    Ok(())
}

fn note(fleet: &Fleet, answer: &[u8]) {
    let Ok(contents) = unwrap(answer) else { return };
    for known in contents.body.as_object().into_iter().flat_map(|nodes| nodes.values()) {
        fleet.clock.adjust(known["clock"].as_u64().unwrap_or(0));
        merge(fleet, &known["revoked"]);
    }
}

/// Takes in the ids that another knows: a list, or an object by id in which Celery before 5.7 tells when
/// each was revoked, by a clock that nobody else can read.
pub(super) fn merge(fleet: &Fleet, revoked: &Value) {
    let now = Instant::now();
    match revoked {
        Value::Array(ids) => fleet.revoked.add(ids.iter().filter_map(Value::as_str), now),
        Value::Object(ids) => fleet.revoked.add(ids.keys().map(String::as_str), now),
        _ => {}
    }
}
