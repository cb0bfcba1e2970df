//! What a relay logs of each task.

use std::time::Duration;

use events_core::Task;
use events_core::events::log_dispatched;
use events_core::outbox::OutboxSettlement;

/// Only where somebody reads it.
pub(crate) fn log_sent(kept: Option<Vec<Task>>, settlement: &OutboxSettlement, some_wait: bool) {
    // Which of them wait of a row that is as it was, nobody has written down.
    if let Some(tasks) = kept.filter(|_| !some_wait) {
        let refused = |task: &Task| settlement.refused.iter().any(|(other, _)| other.id == task.id);
        let sent: Vec<_> = tasks.into_iter().filter(|task| !refused(task)).collect();
        log_dispatched(&sent);
    }
}

/// A line of one task.
macro_rules! line {
    ($level:ident, $outbox:ident, $task:ident, $text:literal, $($field:tt)+) => {
        tracing::$level!(
            event_id = %$task.event_id,
            event = &*$task.event,
            subscriber = &*$task.name,
            task_id = %$task.id,
            queue = &*$task.queue,
            outbox = $outbox,
            $($field)+,
            $text
        )
    };
}

pub(crate) fn log_refused(outbox: &str, settlement: &OutboxSettlement) {
    for (task, reason) in &settlement.refused {
        line!(
            error,
            outbox,
            task,
            "a task can never be sent and is a dead letter now; mend the cause and retry it, or discard it",
            error = reason
        );
    }
}

pub(crate) fn log_hanging(outbox: &str, task: &Task, pause: Duration) {
    line!(
        error,
        outbox,
        task,
        "the transport does not come back from a task that is sent alone; it is put aside and tried again later, and meanwhile what is behind it is sent",
        ?pause
    );
}
