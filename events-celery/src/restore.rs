//! Puts back messages whose consumer did not say for a visibility timeout that it lives: those of workers
//! in Python that died.
//!
//! As kombu does it, with the same keys and the same lock, so that both may: a worker of ours that claims
//! a lot can keep kombu from it, which starts over whenever anybody touches `unacked`.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use events_core::Timestamp;
use uuid::Uuid;

use crate::broker::Inner;
use crate::end::End;
use crate::error::CeleryError;
use crate::keys::Binding;
use crate::liveness;
use crate::message::Object;
use crate::score::{from_seconds, seconds};
use crate::settle::{self, Publication};
use crate::unacked::{Entry, entries};
use crate::{scripts, tag};

const ACTION: &str = "restore lapsed messages";

/// How long the lock lasts if nobody frees it; kombu's `unacked_mutex_expire`.
const LOCK_MILLIS: u32 = 5 * 60 * 1000;

/// The longest time between two looks. kombu looks every hundred seconds.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// What this process remembers of its looks.
#[derive(Debug, Default)]
pub(crate) struct Sweeps(Mutex<Swept>);

#[derive(Debug, Default)]
struct Swept {
    last: Option<Timestamp>,
    /// The tags of what cannot be restored and was told: there may be many, and every look finds them.
    told: HashSet<String>,
}

impl Sweeps {
    fn lock(&self) -> MutexGuard<'_, Swept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is time to; if so, the time counts as used.
    fn is_due(&self, now: Timestamp, every: Duration) -> bool {
        let mut swept = self.lock();
        let due = swept.last.is_none_or(|last| now.since(last) >= every || now < last);
        if due {
            swept.last = Some(now);
        }
        due
    }

    /// Whether this was not told yet; from now on it is.
    fn is_news(&self, tag: &str) -> bool {
        self.lock().told.insert(tag.to_owned())
    }

    /// A look has come to its end, and these are what it could not restore.
    fn found(&self, stuck: &HashSet<String>) {
        self.lock().told.retain(|tag| stuck.contains(tag));
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
        .map(|seen| (tag::of_worker(seen.row.worker), seen.row.heartbeat_at.before(timeout)))
        .collect();
    let is_kept = |(tag, since): &(String, f64)| {
        let since = from_seconds(*since);
        live.iter().any(|(of_worker, oldest)| tag.starts_with(of_worker) && since >= *oldest)
    };
    let is_live = |one: &(String, f64)| inner.held.is_held_here(&one.0).unwrap_or(is_kept(one));
    let mut restored = 0;
    let mut passed_over = 0; // what stays must not hide what comes behind it
    let mut stuck = HashSet::new();
    loop {
        let mut command = redis::cmd("ZRANGEBYSCORE");
        command.arg(&inner.keys.unacked_index).arg(0).arg(seconds(before));
        command.arg("WITHSCORES").arg("LIMIT").arg(passed_over).arg(PAGE);
        let found: Vec<(String, f64)> = inner.link.command(ACTION, &command).await?;
        let page = found.len();
        let (alive, lapsed): (Vec<_>, Vec<_>) = found.into_iter().partition(is_live);
        passed_over += alive.len();
        let tags: Vec<_> = lapsed.into_iter().map(|(tag, _)| tag).collect();
        let mut ends = Vec::new();
        for (tag, entry) in entries(inner, &tags).await? {
            match look(inner, &tag, entry).await? {
                Lapsed::Back { lists, text } => match <[String; 1]>::try_from(lists) {
                    Ok([list]) => ends.push((tag, End::First { list, text })),
                    Err(lists) => {
                        restored += usize::from(put_back(inner, &tag, &lists, text).await?);
                    }
                },
                Lapsed::Gone => {
                    let mut command = redis::cmd("ZREM");
                    command.arg(&inner.keys.unacked_index).arg(&tag);
                    let _: i64 = inner.link.command(ACTION, &command).await?;
                }
                Lapsed::Stays(why) => {
                    if inner.sweeps.is_news(&tag) {
                        why.tell(&inner.keys.unacked, &tag);
                    }
                    passed_over += 1;
                    stuck.insert(tag);
                }
            }
        }
        let ends: Vec<_> = ends.iter().map(|(tag, end)| (&**tag, end.clone())).collect();
        let held = settle::end(inner, &ends).await?;
        restored += held.into_iter().filter(|held| *held).count();
        if page < PAGE {
            inner.sweeps.found(&stuck);
            return Ok(restored);
        }
    }
}

/// What becomes of something that lapsed.
enum Lapsed {
    /// It goes to the front of these lists, of which there is at least one.
    Back { lists: Vec<String>, text: String },
    /// Only its place in the index is left.
    Gone,
    /// It stays where it is.
    Stays(Stuck),
}

/// Why something that lapsed cannot be restored.
enum Stuck {
    Unreadable,
    NoMessage,
    NoQueue { exchange: String, routing_key: String },
}

impl Stuck {
    fn tell(&self, key: &str, tag: &str) {
        match self {
            Self::Unreadable => tracing::error!(
                key,
                tag,
                "an entry of `unacked` cannot be read: workers in Python restore nothing that lapsed before it; look at it with HGET, and remove it with HDEL"
            ),
            Self::NoMessage => tracing::error!(
                key,
                tag,
                "a lapsed entry of `unacked` holds no message and is left there: workers in Python delete it; look at it with HGET, and remove it with HDEL"
            ),
            Self::NoQueue { exchange, routing_key } => tracing::error!(
                key,
                tag,
                exchange,
                routing_key,
                "a lapsed message of an exchange without a queue cannot be restored and stays in `unacked`; start a worker of its queue, or look at it with HGET, and remove it with HDEL"
            ),
        }
    }
}

async fn look(inner: &Inner, tag: &str, entry: Option<Entry>) -> Result<Lapsed, CeleryError> {
    let Some(entry) = entry else {
        let mut command = redis::cmd("HEXISTS");
        command.arg(&inner.keys.unacked).arg(tag);
        return Ok(match inner.link.command(ACTION, &command).await? {
            true => Lapsed::Stays(Stuck::Unreadable),
            false => Lapsed::Gone,
        });
    };
    let Some(text) = redelivered(&entry.message) else {
        return Ok(Lapsed::Stays(Stuck::NoMessage));
    };
    let step = entry.step();
    let queues = queues(inner, &entry).await?;
    if queues.is_empty() {
        let Entry { exchange, routing_key, .. } = entry;
        return Ok(Lapsed::Stays(Stuck::NoQueue { exchange, routing_key }));
    }
    let lists = queues.iter().map(|queue| inner.keys.list(queue, step)).collect();
    Ok(Lapsed::Back { lists, text })
}

/// The message with the two flags that kombu sets. Nothing if it is no object.
fn redelivered(message: &str) -> Option<String> {
    let mut message = Object::parse(message).ok()?;
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

/// All to which the message was sent: as in kombu, those that are bound with its routing key. Those of a
/// fanout exchange cannot be known from Redis; they hear what is published, and read no list.
async fn queues(inner: &Inner, entry: &Entry) -> Result<BTreeSet<String>, CeleryError> {
    if entry.exchange.is_empty() {
        return Ok(BTreeSet::from([entry.routing_key.clone()]));
    }
    let mut command = redis::cmd("SMEMBERS");
    command.arg(inner.keys.binding(&entry.exchange));
    let members: Vec<String> = inner.link.command(ACTION, &command).await?;
    let bindings = members.iter().filter_map(|member| Binding::read(member));
    let bound = bindings.filter(|binding| binding.takes(&entry.routing_key));
    Ok(bound.map(|binding| binding.queue.to_owned()).collect())
}

/// Puts a message back to several lists, to all of them or to none. Whether it was still there.
async fn put_back(
    inner: &Inner,
    tag: &str,
    lists: &[String],
    text: String,
) -> Result<bool, CeleryError> {
    let (list, others) = lists.split_first().expect("there is at least one");
    let other = |list: &String| Publication::Message {
        list: list.clone(),
        first: true,
        text: text.clone(),
    };
    let others: Vec<_> = others.iter().map(other).collect();
    let ends = [(tag, End::First { list: list.clone(), text })];
    let held = settle::end_and_publish(&inner.link, &inner.keys, &ends, &others).await?;
    Ok(held == [true])
}
