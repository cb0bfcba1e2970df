//! Puts back messages whose consumer did not say for a visibility timeout that it lives: those of workers
//! in Python that died.
//!
//! As kombu does it, with the same keys and the same lock, so that both may: a worker of ours that claims
//! a lot can keep kombu from it, which starts over whenever anybody touches `unacked`.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use events_core::Timestamp;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::broker::Inner;
use crate::error::CeleryError;
use crate::keys::{SEPARATOR, Step};
use crate::lease::tags_of;
use crate::liveness;
use crate::message::Object;
use crate::rescue::entries;
use crate::scripts;
use crate::settle::{self, End};

const ACTION: &str = "restore lapsed messages";

/// How long the lock lasts if nobody frees it; kombu's `unacked_mutex_expire`.
const LOCK_MILLIS: u32 = 5 * 60 * 1000;

/// The longest time between two looks. kombu looks every hundred seconds.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// When this process looked for the last time.
#[derive(Debug, Default)]
pub(crate) struct Sweeps(Mutex<Option<Timestamp>>);

impl Sweeps {
    /// Whether it is time to; if so, the time counts as used.
    fn is_due(&self, now: Timestamp, every: Duration) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| now.since(last) >= every || now < last);
        if due {
            *last = Some(now);
        }
        due
    }
}

/// What lies in `unacked`: a message, and where it came from.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) message: String,
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
}

impl Entry {
    pub(crate) fn read(json: &str) -> Option<Self> {
        let (message, exchange, routing_key): (&RawValue, Option<String>, String) =
            serde_json::from_str(json).ok()?;
        Some(Self {
            message: message.get().to_owned(),
            exchange: exchange.unwrap_or_default(),
            routing_key,
        })
    }

    /// That of the message's priority.
    pub(crate) fn step(&self) -> Step {
        let properties = Object::parse(&self.message).ok().and_then(|message| {
            let properties = message.raw("properties")?.to_owned();
            Some(Object::parse(&properties).ok()?.get::<i64>("priority"))
        });
        Step::of(properties.flatten().unwrap_or(0).clamp(0, 9))
    }

    /// The message with the two flags that kombu sets. Nothing if it is no object.
    fn redelivered(&self) -> Option<String> {
        let mut message = Object::parse(&self.message).ok()?;
        let part = |object: &Object<'_>, name: &str| {
            let json = object.raw(name).filter(|json| *json != "null").unwrap_or("{}");
            Object::parse(json).ok().map(Object::into_owned)
        };
        let mut headers = part(&message, "headers")?;
        headers.set("redelivered", "true");
        let mut properties = part(&message, "properties")?;
        let mut delivery = part(&properties, "delivery_info")?;
        delivery.set("redelivered", "true");
        properties.set("delivery_info", delivery.to_string());
        message.set("headers", headers.to_string());
        message.set("properties", properties.to_string());
        Some(message.to_string())
    }
}

/// Restores what lapsed, if nobody else is at it.
pub(crate) async fn sweep(inner: &Inner, now: Timestamp) -> Result<(), CeleryError> {
    let timeout = inner.options.visibility_timeout;
    if !inner.sweeps.is_due(now, LOOK_EVERY.min(timeout / 2)) {
        return Ok(());
    }
    let token = Uuid::now_v7().simple().to_string();
    let locked: Option<String> = inner
        .link
        .script(ACTION, &scripts::LOCK, |command| {
            command.arg(2).arg(&inner.keys.unacked_mutex).arg(&inner.keys.unacked_index);
            command.arg(&token).arg(LOCK_MILLIS);
        })
        .await?;
    if locked.is_none() {
        return Ok(()); // somebody is at it
    }
    let restored = restore(inner, now.before(timeout)).await;
    let _: i64 = inner
        .link
        .script(ACTION, &scripts::UNLOCK, |command| {
            command.arg(1).arg(&inner.keys.unacked_mutex).arg(&token);
        })
        .await?;
    let restored = restored?;
    if restored > 0 {
        tracing::warn!(
            messages = restored,
            visibility_timeout = ?timeout,
            "messages that nobody acknowledged within the visibility timeout are offered again; did a worker die, or does a task take longer than that?"
        );
        inner.watch.hear();
    }
    Ok(())
}

async fn restore(inner: &Inner, before: Timestamp) -> Result<usize, CeleryError> {
    const PAGE: usize = 100;
    // What a registered worker keeps alive is judged by its heartbeats alone: a clock may have jumped.
    // They write their time into all that it holds, so what is much older it does not know of.
    let live = liveness::workers(inner).await?;
    let timeout = inner.options.visibility_timeout;
    let live: Vec<_> = live
        .iter()
        .map(|seen| (tags_of(seen.row.worker), seen.row.heartbeat_at.before(timeout)))
        .collect();
    let is_kept = |(tag, since): &(String, f64)| {
        let since = from_seconds(*since);
        live.iter().any(|(of_worker, oldest)| tag.starts_with(of_worker) && since >= *oldest)
    };
    let is_live = |one: &(String, f64)| inner.held.is_held_here(&one.0).unwrap_or(is_kept(one));
    let mut restored = 0;
    let mut passed_over = 0; // what cannot be restored must not hide what comes behind it
    loop {
        let mut command = redis::cmd("ZRANGEBYSCORE");
        command.arg(&inner.keys.unacked_index).arg(0).arg(crate::claim::seconds(before));
        command.arg("WITHSCORES").arg("LIMIT").arg(passed_over).arg(PAGE);
        let found: Vec<(String, f64)> = inner.link.command(ACTION, &command).await?;
        let page = found.len();
        if page == 0 {
            return Ok(restored);
        }
        let (alive, lapsed): (Vec<_>, Vec<_>) = found.into_iter().partition(is_live);
        passed_over += alive.len();
        let tags: Vec<_> = lapsed.into_iter().map(|(tag, _)| tag).collect();
        let mut ends = Vec::new();
        let mut dangling = Vec::new();
        for (tag, entry) in entries(inner, &tags).await? {
            match entry {
                Some(entry) => match back(inner, &tag, &entry).await? {
                    Some(end) => ends.push((tag, end)),
                    None => passed_over += 1,
                },
                None => dangling.push(tag),
            }
        }
        passed_over += tell_dangling(inner, &dangling).await?;
        let ends: Vec<_> = ends.iter().map(|(tag, end)| (&**tag, end.clone())).collect();
        let held = settle::end(inner, &ends).await?;
        restored += held.into_iter().filter(|held| *held).count();
        if page < PAGE {
            return Ok(restored);
        }
    }
}

/// The time of a score of `unacked_index`.
fn from_seconds(seconds: f64) -> Timestamp {
    #[expect(clippy::cast_possible_truncation, reason = "saturates, and a score is a time")]
    Timestamp::from_micros((seconds * 1e6) as i64)
}

/// Where an entry goes; nothing if nobody can tell.
async fn back(inner: &Inner, tag: &str, entry: &Entry) -> Result<Option<End>, CeleryError> {
    let Some(text) = entry.redelivered() else {
        tracing::error!(
            tag,
            "a lapsed entry of `unacked` holds no message and is left there: workers in Python delete it; look at it with HGET"
        );
        return Ok(None);
    };
    let queue = match entry.exchange.is_empty() {
        true => Some(entry.routing_key.clone()),
        false => bound_queue(inner, entry).await?,
    };
    let Some(queue) = queue else {
        tracing::error!(
            tag,
            exchange = entry.exchange,
            routing_key = entry.routing_key,
            "a lapsed message of an exchange without a queue cannot be restored and stays in `unacked` as it is"
        );
        return Ok(None);
    };
    Ok(Some(End::First { list: inner.keys.list(&queue, entry.step()), text }))
}

async fn bound_queue(inner: &Inner, entry: &Entry) -> Result<Option<String>, CeleryError> {
    let mut command = redis::cmd("SMEMBERS");
    command.arg(inner.keys.binding(&entry.exchange));
    let members: Vec<String> = inner.link.command(ACTION, &command).await?;
    let queue = members.iter().find_map(|member| {
        let mut parts = member.split(SEPARATOR);
        let (key, _pattern, queue) = (parts.next()?, parts.next()?, parts.next()?);
        (key == entry.routing_key).then(|| queue.to_owned())
    });
    Ok(queue)
}

/// Tags of the index whose entry is gone or cannot be read. The first kind is cleaned up; how many are of
/// the second.
async fn tell_dangling(inner: &Inner, tags: &[String]) -> Result<usize, CeleryError> {
    let mut unreadable = 0;
    for tag in tags {
        let mut command = redis::cmd("HEXISTS");
        command.arg(&inner.keys.unacked).arg(tag);
        if inner.link.command::<bool>(ACTION, &command).await? {
            unreadable += 1;
            tracing::error!(
                tag,
                "an entry of `unacked` cannot be read: workers in Python restore nothing that lapsed before it; look at it with HGET, and remove it with HDEL"
            );
        } else {
            let mut command = redis::cmd("ZREM");
            command.arg(&inner.keys.unacked_index).arg(tag);
            let _: i64 = inner.link.command(ACTION, &command).await?;
        }
    }
    Ok(unreadable)
}
