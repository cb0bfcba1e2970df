//! What operators see and do.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::PoisonError;

use events_core::broker::{Admin, Counts, DeadLetter};
use events_core::health::Health;
use events_core::{BrokerError, TaskId, Timestamp};

use crate::broker::{CeleryBroker, Inner};
use crate::dead::DeadRecord;
use crate::error::CeleryError;
use crate::keys::Step;
use crate::liveness;
use crate::message::Message;
use crate::score::from_micros;
use crate::unacked::{entries, tags_like};
use crate::{scripts, tag};

impl Admin for CeleryBroker {
    /// What is running are the tasks of workers in Rust; what Python's hold is not counted.
    async fn counts(&self) -> Result<Counts, BrokerError> {
        counts(&self.inner).await.map_err(|error| error.into_broker_error("count its tasks"))
    }

    async fn dead_letters(
        &self,
        limit: usize,
        before: Option<&DeadLetter>,
    ) -> Result<Vec<DeadLetter>, BrokerError> {
        dead_letters(&self.inner, limit, before)
            .await
            .map_err(|error| error.into_broker_error("list the dead letters"))
    }

    async fn retry_dead_letter(&self, task: TaskId) -> Result<bool, BrokerError> {
        self.uninterrupted("retry a dead letter", move |inner| async move {
            let revived = revive(&inner, task, true).await?;
            inner.watch.hear();
            Ok(revived)
        })
        .await
    }

    async fn discard_dead_letter(&self, task: TaskId) -> Result<bool, BrokerError> {
        self.uninterrupted("discard a dead letter", move |inner| async move {
            revive(&inner, task, false).await
        })
        .await
    }
}

/// What can be read at one moment.
#[derive(PartialEq, Eq)]
struct Glance {
    due: u64,
    scheduled: u64,
    dead: u64,
    listed: u64,
    /// In `unacked` and not because they wait: somebody is at them, here or in Python.
    held: u64,
}

/// A message that moves while it is looked for must not be missed everywhere: whoever waits until
/// nothing is left would go. So what cannot be read at one moment is read between two that are alike.
async fn counts(inner: &Inner) -> Result<Counts, CeleryError> {
    /// Where only others are at work, and much, no two looks may ever be alike.
    const LOOKS: usize = 10;
    let (mut glimpse, mut running) = (glance(inner).await?, 0);
    for _ in 0..LOOKS {
        if glimpse.held == 0 {
            break;
        }
        running = tags_like(inner, &tag::all_held()).await?.len() as u64;
        let before = std::mem::replace(&mut glimpse, glance(inner).await?);
        if running > 0 || glimpse == before {
            break;
        }
    }
    let Glance { due, scheduled, dead, listed, .. } = glimpse;
    Ok(Counts { available: due + listed, scheduled, running, dead })
}

async fn glance(inner: &Inner) -> Result<Glance, CeleryError> {
    const ACTION: &str = "count messages";
    let keys = &inner.keys;
    let now = inner.events.now().as_micros();
    let mut pipeline = redis::pipe();
    pipeline.atomic();
    pipeline.zcount(&keys.scheduled, "-inf", now);
    pipeline.zcount(&keys.scheduled, format!("({now}"), "+inf");
    pipeline.hlen(&keys.dead);
    pipeline.hlen(&keys.unacked);
    for queue in inner.known_queues() {
        for step in Step::ALL {
            pipeline.llen(keys.list(&queue, step));
        }
    }
    let found: Vec<u64> = inner.link.pipeline(ACTION, &pipeline).await?;
    let [due, scheduled, dead, unacked, ref lists @ ..] = found[..] else {
        return Err(CeleryError::answer(ACTION, format!("{found:?}")));
    };
    let held = unacked.saturating_sub(due + scheduled);
    Ok(Glance { due, scheduled, dead, listed: lists.iter().sum(), held })
}

async fn dead_letters(
    inner: &Inner,
    limit: usize,
    before: Option<&DeadLetter>,
) -> Result<Vec<DeadLetter>, CeleryError> {
    const ACTION: &str = "list the dead letters";
    let latest = before.map_or("+inf".to_owned(), |letter| letter.died_at.as_micros().to_string());
    let mut letters = Vec::new();
    let mut offset = 0;
    while letters.len() < limit {
        // Of one moment, the later id comes first: Redis sorts members of one score.
        let page = (limit - letters.len()).clamp(100, 1000);
        let mut command = redis::cmd("ZREVRANGEBYSCORE");
        command.arg(&inner.keys.dead_index).arg(&latest).arg("-inf").arg("WITHSCORES");
        command.arg("LIMIT").arg(offset).arg(page);
        let found: Vec<(String, f64)> = inner.link.command(ACTION, &command).await?;
        offset += found.len();
        let last_page = found.len() < page;
        let keys = found.into_iter().filter(|(key, died_at)| comes_after(key, *died_at, before));
        let keys: Vec<_> = keys.map(|(key, _)| key).collect();
        letters.extend(read(inner, &keys).await?);
        if last_page {
            break;
        }
    }
    letters.truncate(limit);
    Ok(letters)
}

/// Whether the dead letter of this key comes after the one in the list.
fn comes_after(key: &str, died_at: f64, letter: Option<&DeadLetter>) -> bool {
    letter.is_none_or(|letter| {
        from_micros(died_at) != letter.died_at || *key < *letter.id.to_string()
    })
}

async fn read(inner: &Inner, keys: &[String]) -> Result<Vec<DeadLetter>, CeleryError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let mut command = redis::cmd("HMGET");
    command.arg(&inner.keys.dead).arg(keys);
    let found: Vec<Option<String>> = inner.link.command("read dead letters", &command).await?;
    let letters = keys.iter().zip(found).filter_map(|(key, entry)| {
        let record = DeadRecord::read(&entry?).inspect_err(|error| {
            tracing::error!(
                dead_letter = key,
                %error,
                "a dead letter cannot be read and is not listed; look at it with HGET"
            );
        });
        Some(record.ok()?.letter(key))
    });
    Ok(letters.collect())
}

/// Makes a dead letter a message again, or deletes it. Whether it was there.
async fn revive(inner: &Inner, task: TaskId, again: bool) -> Result<bool, CeleryError> {
    const ACTION: &str = "take a dead letter";
    let key = task.to_string();
    let mut command = redis::cmd("HGET");
    command.arg(&inner.keys.dead).arg(&key);
    let entry: Option<Vec<u8>> = inner.link.command(ACTION, &command).await?;
    let Some(entry) = entry else { return Ok(false) };
    let (list, text) = match again {
        false => (String::new(), Vec::new()),
        true => {
            let record =
                std::str::from_utf8(&entry).ok().and_then(|text| DeadRecord::read(text).ok());
            let Some(record) = record else {
                let answer = String::from_utf8_lossy(&entry).chars().take(200).collect();
                return Err(CeleryError::answer(ACTION, answer));
            };
            record.revived(inner)
        }
    };
    inner
        .link
        .script(ACTION, &scripts::REVIVE, |command| {
            command.arg(2).arg(&inner.keys.dead).arg(&inner.keys.dead_index);
            command.arg(&key).arg(&entry).arg(list).arg(text);
        })
        .await
}

/// Which queues have due messages, for how long, and who serves them.
pub(crate) async fn health(inner: &Inner) -> Result<Health, CeleryError> {
    let now = inner.events.now();
    let workers = liveness::workers(inner).await?;
    let registered: Vec<_> = workers.iter().map(liveness::Seen::registered).collect();
    let mut due = Vec::new();
    for queue in inner.known_queues() {
        if let Some(oldest) = oldest(inner, &queue, now).await? {
            due.push((queue, oldest));
        }
    }
    for (queue, since) in due_scheduled(inner, now).await? {
        match due.iter_mut().find(|(known, _)| *known == queue) {
            Some((_, oldest)) => *oldest = since.min(*oldest),
            None => due.push((queue, since)),
        }
    }
    due.sort();
    Ok(Health::of(due, &registered, now))
}

/// Since when the next message of a queue has been due: since it was published or its time had come, as far
/// as it says, and since it was seen here, for what Python sends says nothing.
async fn oldest(
    inner: &Inner,
    queue: &str,
    now: Timestamp,
) -> Result<Option<Timestamp>, CeleryError> {
    let mut pipeline = redis::pipe();
    for step in Step::ALL {
        pipeline.lindex(inner.keys.list(queue, step), -1);
    }
    let found: Vec<Option<Vec<u8>>> =
        inner.link.pipeline("look at the next messages", &pipeline).await?;
    let mut oldest: Option<Timestamp> = None;
    for (step, text) in Step::ALL.into_iter().zip(found) {
        let Some(text) = text else { continue };
        let seen = since(inner, inner.keys.list(queue, step), &text, now);
        let message = String::from_utf8(text).ok().and_then(|text| Message::read(&text).ok());
        let said = message.and_then(|message| message.eta.max(message.published_at));
        let due = said.unwrap_or(seen).min(now);
        oldest = Some(oldest.map_or(due, |oldest| oldest.min(due)));
    }
    Ok(oldest)
}

/// Since when this has been the next message of the list, as this process has seen.
fn since(inner: &Inner, list: String, text: &[u8], now: Timestamp) -> Timestamp {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let hash = hasher.finish();
    let mut seen = inner.next_seen.lock().unwrap_or_else(PoisonError::into_inner);
    let known = seen.entry(list).or_insert((hash, now));
    if known.0 != hash {
        *known = (hash, now);
    }
    known.1
}

/// The queues of messages whose time has come and which nobody has taken, of the first hundred.
async fn due_scheduled(
    inner: &Inner,
    now: Timestamp,
) -> Result<Vec<(String, Timestamp)>, CeleryError> {
    let mut command = redis::cmd("ZRANGEBYSCORE");
    command.arg(&inner.keys.scheduled).arg("-inf").arg(now.as_micros());
    command.arg("WITHSCORES").arg("LIMIT").arg(0).arg(100);
    let found: Vec<(String, f64)> = inner.link.command("look at what is due", &command).await?;
    let tags: Vec<_> = found.iter().map(|(tag, _)| tag.clone()).collect();
    if tags.is_empty() {
        return Ok(Vec::new());
    }
    let entries = entries(inner, &tags).await?;
    let due = entries
        .into_iter()
        .zip(found)
        .filter_map(|((_, entry), (_, due_at))| Some((entry?.routing_key, from_micros(due_at))));
    Ok(due.collect())
}
