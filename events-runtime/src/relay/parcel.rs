//! What is handed to a transport at once.

use events_core::Task;
use events_core::outbox::OutboxRow;

use super::apart::Apart;
use super::outcome::Handed;

/// Rows, and their tasks as a transport takes them.
pub(crate) struct Parcel {
    pub(crate) rows: Vec<Handed>,
    pub(crate) tasks: Vec<Task>,
    /// Tasks of the last row that have to wait for the next parcel.
    pub(crate) untried: Vec<Task>,
}

impl Parcel {
    /// The first of these rows, with so many tasks at most; one that is put apart is alone.
    pub(crate) fn of(rows: Vec<OutboxRow>, most: usize, apart: &Apart) -> Self {
        let mut parcel = Self { rows: Vec::new(), tasks: Vec::new(), untried: Vec::new() };
        for row in rows {
            let room = most - parcel.tasks.len();
            let before = apart.first(&row.tasks);
            let room = match before {
                Some(0) if parcel.tasks.is_empty() => 1,
                Some(before) => room.min(before),
                None => room,
            };
            if room == 0 {
                break;
            }
            parcel.rows.push((row.key(), row.tasks.iter().map(|task| task.id).collect()));
            let mut tasks = row.tasks;
            if tasks.len() > room {
                parcel.untried = tasks.split_off(room);
            }
            parcel.tasks.append(&mut tasks);
            if before.is_some() {
                break;
            }
        }
        parcel
    }
}

#[cfg(test)]
mod tests {
    use events_core::Timestamp;

    use super::*;
    use crate::relay::outcome::tests::task;

    #[test]
    fn a_task_that_is_put_apart_is_alone_and_nothing_goes_before_it_that_is_behind() {
        let mut apart = Apart::default();
        let rows = |tasks: &[&[Task]]| -> Vec<_> {
            let row = |(id, tasks): (i64, &&[Task])| OutboxRow {
                id,
                published_at: Timestamp::default(),
                tasks: tasks.to_vec(),
            };
            (0..).zip(tasks).map(row).collect()
        };
        let [a, b, c] = [task(), task(), task()];
        apart.put(b.id);
        let all = [a.clone(), b.clone(), c.clone()];
        let parcel = Parcel::of(rows(&[&all, &[task()]]), usize::MAX, &apart);
        assert_eq!((parcel.tasks, parcel.untried), (vec![a.clone()], vec![b.clone(), c.clone()]));
        let parcel = Parcel::of(rows(&[&[b.clone(), c.clone()]]), usize::MAX, &apart);
        assert_eq!((parcel.tasks, parcel.untried), (vec![b.clone()], vec![c.clone()]));
        let parcel = Parcel::of(rows(&[&all[..1], &all[1..2], &all[2..]]), usize::MAX, &apart);
        assert_eq!(parcel.rows.len(), 1);
        assert!(apart.comes_back(b.id));
        let parcel = Parcel::of(rows(&[&all, &[task()]]), usize::MAX, &apart);
        assert_eq!((parcel.tasks.len(), parcel.untried.len()), (4, 0));
    }
}
