//! Remote control: hears what is asked of all workers or of some, and answers.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::envelope::wrap;
use super::mingle::REPLY_EXCHANGE;
use super::request::{Addressees, ReplyTo, Request};
use super::{mingle, replies};
use crate::broker::Inner;
use crate::error::CeleryError;
use crate::keys::Binding;

/// Where requests are heard.
pub(super) const EXCHANGE: &str = "celery.pidbox";

/// After a connection that broke.
const RECONNECT: Duration = Duration::from_millis(100);
const LONGEST_RECONNECT: Duration = Duration::from_secs(5);

/// After so many tries in vain it is said.
const PATIENCE: u32 = 5;

/// When nothing was heard for so long, it is looked whether anything could be.
const SILENCE: Duration = Duration::from_secs(30);
const ANSWER: Duration = Duration::from_secs(5);

/// An answer that nobody fetches is gone after so many seconds; kombu waits ten at most.
pub(super) const REPLY_EXPIRES_SECONDS: i64 = 60;

/// Hears requests until the broker is gone, and finds Redis again when it was away.
pub(super) async fn listen(inner: Weak<Inner>) {
    let (mut pause, mut failures) = (RECONNECT, 0);
    loop {
        let Some(found) = inner.upgrade() else { return };
        let subscribed = subscribe(&found).await;
        drop(found);
        match subscribed {
            Ok((sink, stream)) => {
                (pause, failures) = (RECONNECT, 0);
                // What was revoked before, or while nobody listened.
                let asking = tokio::spawn(mingle::ask_others(inner.clone()));
                hear(&inner, sink, stream).await;
                asking.abort();
            }
            Err(error) => {
                failures += 1;
                pause = (pause * 2).min(LONGEST_RECONNECT);
                tell(&error, failures);
            }
        }
        sleep(pause.mul_f64(0.5 + 0.5 * fastrand::f64())).await;
    }
}

fn tell(error: &CeleryError, failures: u32) {
    let error = error as &dyn std::error::Error;
    match failures == PATIENCE {
        true => tracing::warn!(
            error,
            "remote control cannot be listened to: this worker is not seen by `celery status` and hears of no revoked tasks until it can; trying again"
        ),
        false => tracing::debug!(error, "no connection for remote control; trying again"),
    }
}

async fn subscribe(inner: &Inner) -> Result<(PubSubSink, PubSubStream), CeleryError> {
    let (mut sink, stream) = inner.link.source().subscribe().await?.split();
    let channel = inner.keys.fanout(EXCHANGE);
    let silent = || redis::RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
    match timeout(ANSWER, sink.subscribe(channel)).await.unwrap_or_else(|_| Err(silent())) {
        Ok(()) => Ok((sink, stream)),
        Err(error) => Err(CeleryError::command("listen to remote control", error)),
    }
}

/// Until the connection breaks.
async fn hear(inner: &Weak<Inner>, mut sink: PubSubSink, mut stream: PubSubStream) {
    loop {
        match timeout(SILENCE, stream.next()).await {
            Ok(Some(message)) => {
                let Some(inner) = inner.upgrade() else { return };
                match Request::read(message.get_payload_bytes()) {
                    Ok(request) => handle(&inner, &request).await,
                    Err(reason) => {
                        tracing::debug!(reason, "a request that cannot be read is ignored");
                    }
                }
            }
            Ok(None) => return,
            // A connection may be gone without a word.
            Err(_) => match timeout(ANSWER, sink.ping::<redis::Value>()).await {
                Ok(Ok(_)) => {}
                _ => return,
            },
        }
    }
}

async fn handle(inner: &Arc<Inner>, request: &Request) {
    inner.fleet.clock.adjust(request.clock);
    if let Addressees::Unknown(pattern) = &request.to {
        tracing::debug!(pattern, "a request is ignored, for this worker cannot tell whose it is");
    }
    for node in inner.fleet.nodes() {
        if !request.is_for(&node.name) {
            continue;
        }
        tracing::debug!(method = request.method, node = node.name, "request heard");
        let answer = replies::answer(inner, &node, request).await;
        if let Some(to) = &request.reply_to
            && let Err(error) = reply(inner, &node.name, &answer, to, &request.ticket).await
        {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                method = request.method,
                "an answer could not be given"
            );
        }
    }
}

/// Puts an answer where who asked looks for it.
async fn reply(
    inner: &Inner,
    name: &str,
    answer: &Value,
    to: &ReplyTo,
    ticket: &Value,
) -> Result<(), CeleryError> {
    const ACTION: &str = "take an answer";
    let link = &inner.fleet.link;
    let queue = format!("{}.{REPLY_EXCHANGE}", to.routing_key);
    if to.exchange != REPLY_EXCHANGE || !is_bound(inner, &to.routing_key, &queue).await? {
        return Ok(()); // nobody waits any more
    }
    let headers = json!({"ticket": ticket, "clock": inner.fleet.clock.forward()});
    let text = wrap(&json!({name: answer}), &headers, &to.exchange, &to.routing_key);
    let list = format!("{}{queue}", inner.keys.prefix);
    let mut pipeline = redis::pipe();
    pipeline.lpush(&list, text).ignore().expire(&list, REPLY_EXPIRES_SECONDS).ignore();
    link.pipeline(ACTION, &pipeline).await
}

/// Whether somebody waits at this queue for answers. No other is answered to: its list is given an end, and
/// who may ask need not be one who may delete what is in a list of tasks.
async fn is_bound(inner: &Inner, routing_key: &str, queue: &str) -> Result<bool, CeleryError> {
    let mut command = redis::cmd("SISMEMBER");
    command.arg(inner.keys.binding(REPLY_EXCHANGE));
    command.arg(Binding::direct(routing_key, queue).to_string());
    inner.fleet.link.command("tell where an answer goes", &command).await
}
