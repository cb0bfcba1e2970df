//! Results of tasks for callers that wait for them, as Celery's Redis backend stores them.
//!
//! They are written before the message is acknowledged, as those of Celery's late acknowledgement. Where
//! they lie beside the tasks, they share their fate: what cannot be stored for Redis is away is stored
//! when the settlement is tried again. In another Redis they must not hold up the work: it is tried, for
//! a moment, and then the tasks go on without.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use events_core::Timestamp;
use events_core::broker::Settlement;
use events_core::lifecycle::Next;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::broker::Inner;
use crate::end::End;
use crate::error::CeleryError;
use crate::lease::{CeleryReceipt, Held};
use crate::link::Link;
use crate::message::{Message, Object, iso_time};
use crate::options::CeleryOptions;
use crate::scripts;
use crate::source::Source;

/// How long tasks wait for a Redis of its own that keeps results.
const PATIENCE: Duration = Duration::from_secs(2);

/// After it did not answer it is not tried for so long.
const PAUSE: Duration = Duration::from_secs(5);

/// Between two warnings.
const WARN_EVERY: Duration = Duration::from_mins(1);

/// The most in one call.
const BATCH: usize = 500;

/// Where results go.
#[derive(Debug)]
pub(crate) struct Results {
    /// Nothing if they lie beside the tasks.
    apart: Option<Arc<Link>>,
    prefix: String,
    /// Nothing if they stay for ever.
    expire_seconds: Option<u64>,
    trouble: Mutex<Trouble>,
}

#[derive(Debug, Default)]
struct Trouble {
    not_before: Option<Instant>,
    told: Option<Instant>,
    /// Since it was told.
    lost: usize,
}

/// What became of a task, as Celery calls it.
#[derive(Debug, Clone, Copy)]
enum State<'t> {
    Success,
    Retry(&'t str),
    Failure(&'t str),
    Revoked(&'t str),
}

impl Results {
    /// `apart` is where they go if not beside the tasks.
    pub(crate) fn new(options: &CeleryOptions, apart: Option<Source>) -> Option<Self> {
        let results = options.results.as_ref()?;
        Some(Self {
            // Shorter than the patience, or a connection that is dead would never be given up.
            apart: apart.map(|source| Link::new(source, PATIENCE * 3 / 4)),
            prefix: results.prefix.clone(),
            expire_seconds: results.expire_seconds,
            trouble: Mutex::default(),
        })
    }

    fn entry(
        &self,
        message: &Message,
        text: &str,
        state: State<'_>,
        now: Timestamp,
    ) -> (String, String) {
        let key = format!("{}celery-task-meta-{}", self.prefix, message.id);
        (key, result(message, text, state, now).to_string())
    }

    /// Whether a Redis apart may be tried.
    fn may_try(&self, entries: usize) -> bool {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let may = trouble.not_before.is_none_or(|not_before| not_before <= Instant::now());
        if !may {
            trouble.lost += entries;
        }
        may
    }

    /// Notes that results were not stored, and says so now and then.
    fn lose(&self, entries: usize, error: &(dyn std::error::Error + 'static)) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.lost += entries;
        trouble.not_before = Some(Instant::now() + PAUSE);
        if trouble.told.is_none_or(|told| told.elapsed() >= WARN_EVERY) {
            tracing::warn!(
                error,
                results = trouble.lost,
                "results could not be stored, and their tasks are settled without: who waits for one waits in vain"
            );
            (trouble.told, trouble.lost) = (Some(Instant::now()), 0);
        }
    }
}

/// A result, with Celery's names.
fn result(message: &Message, text: &str, state: State<'_>, now: Timestamp) -> Value {
    let exception = |kind: &str, module: &str, text: &str| json!({"exc_type": kind, "exc_message": [text], "exc_module": module});
    let failure = |error| exception("HandlerError", "events", error);
    let (status, result) = match state {
        State::Success => ("SUCCESS", Value::Null),
        State::Retry(error) => ("RETRY", failure(error)),
        State::Failure(error) => ("FAILURE", failure(error)),
        State::Revoked(why) => ("REVOKED", exception("TaskRevokedError", "celery.exceptions", why)),
    };
    let done = !matches!(state, State::Retry(_));
    let mut meta = json!({
        "status": status,
        "result": result,
        "traceback": null,
        "children": [],
        "date_done": done.then(|| iso_time(now)),
        "task_id": message.id,
    });
    let envelope = Object::parse(text).unwrap_or_default();
    let headers = Object::parse(envelope.raw("headers").unwrap_or("{}")).unwrap_or_default();
    for (field, header) in [("group_id", "group"), ("parent_id", "parent_id")] {
        if let Some(value) = headers.text(header) {
            meta[field] = value.into();
        }
    }
    meta
}

/// Stores what became of tasks that are about to be settled.
///
/// # Errors
/// Redis is away, and the tasks cannot be settled now either.
pub(crate) async fn of_settlements(
    inner: &Inner,
    settlements: &[Settlement<CeleryReceipt>],
) -> Result<(), CeleryError> {
    let Some(results) = &inner.results else { return Ok(()) };
    let now = inner.events.now();
    let entry = |settlement: &Settlement<CeleryReceipt>| {
        let held = &settlement.receipt.0;
        let state = match &settlement.next {
            Next::Complete => State::Success,
            Next::Retry { error, .. } => State::Retry(error),
            Next::Bury { error } => State::Failure(error),
            Next::Release { .. } => return None,
        };
        wanted(&held.message).then(|| results.entry(&held.message, &held.text, state, now))
    };
    store(inner, results, settlements.iter().filter_map(entry).collect()).await
}

/// Stores that a task is done which completes together with what its handler published.
///
/// # Errors
/// Redis is away, and the task cannot complete now either.
pub(crate) async fn of_completion(inner: &Inner, held: &Held) -> Result<(), CeleryError> {
    let Some(results) = &inner.results else { return Ok(()) };
    if !wanted(&held.message) {
        return Ok(());
    }
    let entry = results.entry(&held.message, &held.text, State::Success, inner.events.now());
    store(inner, results, vec![entry]).await
}

/// Stores what became of messages that were claimed and are not run at all.
///
/// # Errors
/// Redis is away, and the messages cannot go where they belong now either.
pub(crate) async fn of_set_aside(inner: &Inner, ends: &[(String, End)]) -> Result<(), CeleryError> {
    let Some(results) = &inner.results else { return Ok(()) };
    let now = inner.events.now();
    let entry = |end: &End| {
        let (text, state) = match end {
            End::Drop { text, why } => (&**text, State::Revoked(why.word())),
            End::Bury(record) => (record.message(), State::Failure(record.error())),
            _ => return None,
        };
        let message = Message::read(text).ok().filter(wanted)?;
        Some(results.entry(&message, text, state, now))
    };
    store(inner, results, ends.iter().filter_map(|(_, end)| entry(end)).collect()).await
}

fn wanted(message: &Message) -> bool {
    !message.ignore_result
}

async fn store(
    inner: &Inner,
    results: &Results,
    entries: Vec<(String, String)>,
) -> Result<(), CeleryError> {
    for entries in entries.chunks(BATCH) {
        match &results.apart {
            None => match write(&inner.link, results, entries).await {
                Err(error) if error.is_away() => return Err(error),
                // It is there and refuses: so it would the next time.
                Err(error) => results.lose(entries.len(), &error),
                Ok(()) => {}
            },
            Some(_) if !results.may_try(entries.len()) => {}
            Some(link) => match timeout(PATIENCE, write(link, results, entries)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => results.lose(entries.len(), &error),
                Err(elapsed) => results.lose(entries.len(), &elapsed),
            },
        }
    }
    Ok(())
}

async fn write(
    link: &Link,
    results: &Results,
    entries: &[(String, String)],
) -> Result<(), CeleryError> {
    link.script("store results", &scripts::RESULT, |command| {
        command.arg(entries.len());
        for (key, _) in entries {
            command.arg(key);
        }
        command.arg(results.expire_seconds.unwrap_or(0));
        for (_, text) in entries {
            command.arg(text);
        }
    })
    .await
}

#[cfg(test)]
mod tests;
