//! What becomes of rows whose tasks were handed to a transport. No clock, no database.

use std::collections::HashMap;

use events_core::lifecycle::Chain;
use events_core::outbox::{OutboxRow, OutboxRowKey, OutboxSettlement};
use events_core::transport::Unsent;
use events_core::{Task, TaskId};

/// A row with the ids of its tasks, in order.
pub(crate) type Handed = (OutboxRowKey, Vec<TaskId>);

/// What was sent, and what becomes of the rest.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) settlement: OutboxSettlement,
    /// How many tasks were sent.
    pub(crate) sent: usize,
    /// Why the first of those that wait could not be sent; `None` if none waits.
    pub(crate) waits: Option<String>,
    /// Whether the broker is away, and not only some of what it has.
    pub(crate) is_away: bool,
    /// Rows of which nothing is left but what was refused for now, one by one.
    pub(crate) put_off: Vec<OutboxRowKey>,
}

/// A task that is left of a row.
struct Left {
    task: Task,
    /// Whether it was refused for now, by itself.
    refused: bool,
}

/// The rows, what was not sent of them, and what of the last was not tried.
///
/// A task that was refused for now goes behind those of its row that were not tried: they would
/// never have their turn if it was always the first.
pub(crate) fn outcome(rows: &[Handed], unsent: Vec<Unsent>, untried: Vec<Task>) -> Outcome {
    let mut unsent: HashMap<_, _> =
        unsent.into_iter().map(|unsent| (unsent.task.id, unsent)).collect();
    let mut untried: HashMap<_, _> = untried.into_iter().map(|task| (task.id, task)).collect();
    let mut outcome = Outcome::default();
    for (key, tasks) in rows {
        let (mut rest, mut some_untried) = (Vec::new(), false);
        for id in tasks {
            if let Some(task) = untried.remove(id) {
                some_untried = true;
                rest.push(Left { task, refused: false });
                continue;
            }
            let Some(unsent) = unsent.remove(id) else {
                outcome.sent += 1;
                continue;
            };
            let is_away = unsent.is_unavailable();
            let Unsent { task, error, retryable, .. } = unsent;
            if retryable {
                outcome.waits.get_or_insert_with(|| Chain(&*error).to_string());
                outcome.is_away |= is_away;
                rest.push(Left { task, refused: !is_away });
            } else {
                outcome.settlement.refused.push((task, Chain(&*error).to_string()));
            }
        }
        if !rest.is_empty() && rest.iter().all(|left| left.refused) {
            outcome.put_off.push(*key);
        }
        let moves = some_untried && rest.iter().any(|left| left.refused);
        if moves {
            rest.sort_by_key(|left| left.refused); // stable: the others keep their order
        }
        match rest.len() {
            0 => outcome.settlement.done.push(*key),
            all if all == tasks.len() && !moves => {} // it is as it was
            _ => {
                let OutboxRowKey { id, published_at } = *key;
                let tasks = rest.into_iter().map(|left| left.task).collect();
                outcome.settlement.rest.push(OutboxRow { id, published_at, tasks });
            }
        }
    }
    outcome
}

#[cfg(test)]
pub(super) mod tests {
    use events_core::task::Headers;
    use events_core::{EventId, Timestamp};

    use super::*;

    pub(crate) fn task() -> Task {
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

    fn key(id: i64) -> OutboxRowKey {
        OutboxRowKey { id, published_at: Timestamp::default() }
    }

    fn row(id: i64, task: &Task) -> OutboxRow {
        OutboxRow { id, published_at: Timestamp::default(), tasks: vec![task.clone()] }
    }

    /// Rows of two tasks each.
    fn pairs(tasks: &[Task]) -> Vec<Handed> {
        let pairs = tasks.chunks(2).map(|pair| pair.iter().map(|task| task.id).collect());
        (0..).map(key).zip(pairs).collect()
    }

    #[test]
    fn a_row_goes_only_when_all_of_its_tasks_are_sent_or_refused_and_its_rest_keeps_its_order() {
        let tasks: Vec<_> = (0..8).map(|_| task()).collect();
        let rows = pairs(&tasks);
        let unsent = vec![
            Unsent::later(tasks[5].clone(), "away"), // row 2 whole, told in another order
            Unsent::later(tasks[4].clone(), "away first"),
            Unsent::never(tasks[3].clone(), "too large"),
            Unsent::later(tasks[6].clone(), "away"),
        ];
        let outcome = outcome(&rows, unsent, Vec::new());
        assert_eq!(outcome.settlement.done, [key(0), key(1)]);
        assert_eq!(outcome.settlement.refused, [(tasks[3].clone(), "too large".into())]);
        assert_eq!(outcome.settlement.rest, [row(3, &tasks[6])]);
        assert_eq!((outcome.sent, outcome.waits.as_deref()), (4, Some("away first")));
    }

    #[test]
    fn a_row_is_put_off_when_all_that_is_left_of_it_was_refused_by_itself() {
        let tasks: Vec<_> = (0..8).map(|_| task()).collect();
        let mut unsent = Unsent::all_later(vec![tasks[3].clone(), tasks[6].clone()], "away");
        unsent.push(Unsent::later(tasks[0].clone(), "the list takes nothing"));
        unsent.push(Unsent::later(tasks[2].clone(), "the list takes nothing"));
        unsent.push(Unsent::later(tasks[4].clone(), "the list takes nothing"));
        let outcome = outcome(&pairs(&tasks), unsent, vec![tasks[7].clone()]);
        assert_eq!((outcome.put_off, outcome.is_away), (vec![key(0), key(2)], true));
        assert_eq!(outcome.sent, 2);
        let rest = [row(0, &tasks[0]), row(2, &tasks[4])];
        assert_eq!(outcome.settlement.rest, rest, "the others are as they were");
    }

    #[test]
    fn what_was_not_tried_is_left() {
        let tasks: Vec<_> = (0..2).map(|_| task()).collect();
        let outcome = outcome(&pairs(&tasks), Vec::new(), vec![tasks[1].clone()]);
        assert_eq!(outcome.settlement.rest, [row(0, &tasks[1])]);
        assert!(outcome.put_off.is_empty() && outcome.waits.is_none() && !outcome.is_away);
    }

    #[test]
    fn what_was_refused_goes_behind_what_was_not_tried_and_the_others_keep_their_order() {
        let tasks: Vec<_> = (0..6).map(|_| task()).collect();
        let rows = [(key(0), tasks.iter().map(|task| task.id).collect())];
        let mut unsent = Unsent::all_later([tasks[2].clone()], "away");
        unsent.push(Unsent::later(tasks[1].clone(), "the list takes nothing"));
        unsent.push(Unsent::later(tasks[0].clone(), "the list takes nothing"));
        let untried = tasks[3..].to_vec();
        let outcome = outcome(&rows, unsent, untried);
        let order = [2, 3, 4, 5, 0, 1].map(|index: usize| tasks[index].id);
        let rest = outcome.settlement.rest[0].tasks.iter().map(|task| task.id);
        assert!(rest.eq(order), "though none was sent");
        assert!(outcome.put_off.is_empty());
    }

    #[test]
    fn a_row_of_which_the_last_task_is_refused_goes() {
        let (sent, refused) = (task(), task());
        let rows = [(key(7), vec![sent.id, refused.id])];
        let outcome = outcome(&rows, vec![Unsent::never(refused, "malformed")], Vec::new());
        assert_eq!(outcome.settlement.done, [key(7)]);
        assert!(outcome.settlement.rest.is_empty() && outcome.waits.is_none());
    }
}
