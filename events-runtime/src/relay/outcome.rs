//! What becomes of rows whose tasks were handed to a transport. No clock, no database.

use std::collections::HashMap;

use events_core::TaskId;
use events_core::lifecycle::Chain;
use events_core::outbox::{OutboxRow, OutboxSettlement};
use events_core::transport::Unsent;

/// What was sent, and what becomes of the rest.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) settlement: OutboxSettlement,
    /// How many tasks were sent.
    pub(crate) sent: usize,
    /// Why the first of those that wait could not be sent; `None` if none waits.
    pub(crate) waits: Option<String>,
}

/// The rows with the ids of their tasks, in order, and what was not sent of them.
pub(crate) fn outcome(rows: &[(i64, Vec<TaskId>)], unsent: Vec<Unsent>) -> Outcome {
    let mut unsent: HashMap<_, _> =
        unsent.into_iter().map(|unsent| (unsent.task.id, unsent)).collect();
    let mut outcome = Outcome::default();
    for (id, tasks) in rows {
        let mut rest = Vec::new();
        for task in tasks {
            match unsent.remove(task) {
                None => outcome.sent += 1,
                Some(Unsent { task, error, retryable: true, .. }) => {
                    outcome.waits.get_or_insert_with(|| Chain(&*error).to_string());
                    rest.push(task);
                }
                Some(Unsent { task, error, .. }) => {
                    outcome.settlement.refused.push((task, Chain(&*error).to_string()));
                }
            }
        }
        match rest.len() {
            0 => outcome.settlement.done.push(*id),
            all if all == tasks.len() => {} // it is as it was
            _ => outcome.settlement.rest.push(OutboxRow { id: *id, tasks: rest }),
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use events_core::task::Headers;
    use events_core::{EventId, Task, Timestamp};

    use super::*;

    fn task() -> Task {
        Task {
            id: TaskId::generate(),
            event_id: EventId::generate(),
            event: "event".into(),
            name: "name".into(),
            queue: "queue".into(),
            priority: 0,
            payload: "{}".into(),
            headers: Headers::new(),
            published_at: Timestamp::default(),
            due_at: Timestamp::default(),
            debounce: None,
        }
    }

    #[test]
    fn a_row_goes_only_when_all_of_its_tasks_are_sent_or_refused_and_its_rest_keeps_its_order() {
        let tasks: Vec<_> = (0..8).map(|_| task()).collect();
        let pairs = tasks.chunks(2).map(|pair| vec![pair[0].id, pair[1].id]);
        let rows: Vec<_> = (0_i64..).zip(pairs).collect();
        let unsent = vec![
            Unsent::later(tasks[5].clone(), "away"), // row 2 whole, told in another order
            Unsent::later(tasks[4].clone(), "away first"),
            Unsent::never(tasks[3].clone(), "too large"),
            Unsent::later(tasks[6].clone(), "away"),
        ];
        let outcome = outcome(&rows, unsent);
        assert_eq!(outcome.settlement.done, [0, 1]);
        assert_eq!(outcome.settlement.refused, [(tasks[3].clone(), "too large".into())]);
        assert_eq!(outcome.settlement.rest, [OutboxRow { id: 3, tasks: vec![tasks[6].clone()] }]);
        assert_eq!((outcome.sent, outcome.waits.as_deref()), (4, Some("away first")));
    }

    #[test]
    fn a_row_of_which_the_last_task_is_refused_goes() {
        let (sent, refused) = (task(), task());
        let rows = [(7, vec![sent.id, refused.id])];
        let outcome = outcome(&rows, vec![Unsent::never(refused, "malformed")]);
        assert_eq!(outcome.settlement.done, [7]);
        assert!(outcome.settlement.rest.is_empty() && outcome.waits.is_none());
    }
}
