//! What is handed to a transport at once.

use events_core::Task;
use events_core::outbox::OutboxRow;

use super::outcome::Handed;

/// Rows, and their tasks as a transport takes them.
pub(crate) struct Parcel {
    pub(crate) rows: Vec<Handed>,
    pub(crate) tasks: Vec<Task>,
    /// Tasks of the last row that have to wait for the next parcel.
    pub(crate) untried: Vec<Task>,
}

impl Parcel {
    /// The first of these rows, with so many tasks at most.
    pub(crate) fn of(rows: Vec<OutboxRow>, most: usize) -> Self {
        let mut parcel = Self { rows: Vec::new(), tasks: Vec::new(), untried: Vec::new() };
        for row in rows {
            let room = most - parcel.tasks.len();
            if room == 0 {
                break;
            }
            parcel.rows.push((row.key(), row.tasks.iter().map(|task| task.id).collect()));
            let mut tasks = row.tasks;
            if tasks.len() > room {
                parcel.untried = tasks.split_off(room);
            }
            parcel.tasks.append(&mut tasks);
        }
        parcel
    }
}
