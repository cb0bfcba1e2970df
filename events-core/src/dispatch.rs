//! Fan-out: pending events in, tasks out. A pure function; who calls it logs and sends.

use std::borrow::Cow;

use crate::clock::Timestamp;
use crate::event::TaskId;
use crate::registry::Registry;
use crate::session::PendingEvent;
use crate::settings::EventSettings;
use crate::task::Task;

/// What the commit of a session makes of its pending events.
#[derive(Debug, Default)]
pub struct FanOut {
    /// One task per event and subscriber, in the order of publishing, then of task names.
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
    for event in pending {
        let subscribers = registry.subscribers_of(event.event);
        if subscribers.is_empty() {
            out.unheard.push(event);
            continue;
        }
        for subscriber in subscribers {
            out.tasks.push(Task {
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
                due_at: now,
            });
        }
    }
    out
}
