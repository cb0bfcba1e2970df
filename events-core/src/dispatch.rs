//! Fan-out: pending events in, tasks out. A pure function; who calls it logs and sends.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::Value;

use crate::clock::Timestamp;
use crate::event::TaskId;
use crate::registry::Registry;
use crate::session::PendingEvent;
use crate::settings::EventSettings;
use crate::subscriber::Subscriber;
use crate::task::{Debounced, Task, debounce_key};

/// What the commit of a session makes of its pending events.
#[derive(Debug, Default)]
pub struct FanOut {
    /// One task per event and subscriber, in the order of publishing, then of task names. Of a
    /// subscriber that is debounced one per key, that of the newest event.
    pub tasks: Vec<Task>,
    /// Events that no subscriber of this program listens to.
    pub unheard: Vec<PendingEvent>,
    /// Events that the kill switch dropped.
    pub dropped: Vec<PendingEvent>,
}

/// Makes one task per event and subscriber; none if dispatch is disabled (`enabled` false).
#[must_use]
pub fn fan_out(
    pending: Vec<PendingEvent>,
    registry: &'static Registry,
    settings: &EventSettings,
    enabled: bool,
    now: Timestamp,
) -> FanOut {
    let mut out = FanOut::default();
    if !enabled {
        out.dropped = pending;
        return out;
    }
    let mut debounced = false;
    out.tasks.reserve(pending.len());
    for event in pending {
        let subscribers = registry.subscribers_of(event.event);
        if subscribers.is_empty() {
            out.unheard.push(event);
            continue;
        }
        for subscriber in subscribers {
            out.tasks.push(task(&event, subscriber, settings, now));
            debounced |= subscriber.debounce.is_some();
        }
    }
    if debounced {
        keep_newest(&mut out.tasks);
    }
    out
}

fn task(
    event: &PendingEvent,
    subscriber: &'static Subscriber,
    settings: &EventSettings,
    now: Timestamp,
) -> Task {
    let debounce = subscriber.debounce.map(|debounce| {
        let payload = serde_json::from_str(&event.payload).unwrap_or(Value::Null);
        Debounced {
            key: debounce_key(&payload, debounce.by),
            not_after: now + debounce.longest.max(debounce.window),
        }
    });
    let wait = match subscriber.debounce {
        Some(debounce) => debounce.window,
        None => subscriber.delay.unwrap_or_default(),
    };
    Task {
        id: TaskId::generate(),
        event_id: event.id,
        event: Cow::Borrowed(event.event),
        name: Cow::Borrowed(subscriber.task),
        queue: match subscriber.queue {
            Some(queue) => Cow::Borrowed(queue),
            None => Cow::Owned(settings.default_queue.clone()),
        },
        priority: subscriber.priority,
        payload: event.payload.clone(),
        headers: event.headers.clone(),
        published_at: event.published_at,
        due_at: now + wait,
        debounce,
    }
}

/// Of the tasks of one name and key, the last: they would take each other's place anyway, and a
/// database takes one row of a statement for each.
fn keep_newest(tasks: &mut Vec<Task>) {
    let mut last: HashMap<(Cow<'static, str>, String), usize> = HashMap::new();
    for (index, task) in tasks.iter().enumerate() {
        if let Some(debounced) = &task.debounce {
            last.insert((task.name.clone(), debounced.key.clone()), index);
        }
    }
    let mut index = 0;
    tasks.retain(|task| {
        let newest = task.debounce.as_ref().is_none_or(|debounced| {
            last.get(&(task.name.clone(), debounced.key.clone())) == Some(&index)
        });
        index += 1;
        newest
    });
}
