//! Tasks that are sent alone, since the transport hung or panicked on them when they were.

use std::collections::HashMap;

use events_core::{Task, TaskId};

/// Each with how often it did. What is sent together with such a task would suffer for it.
#[derive(Debug, Default)]
pub(crate) struct Apart(HashMap<TaskId, u32>);

impl Apart {
    /// From now on this one is sent alone.
    pub(crate) fn put(&mut self, task: TaskId) {
        *self.0.entry(task).or_default() += 1;
    }

    /// How often that was said.
    pub(crate) fn times(&self, task: TaskId) -> u32 {
        self.0.get(&task).copied().unwrap_or(0)
    }

    /// The transport came back from this one. Whether it was put apart before.
    pub(crate) fn comes_back(&mut self, task: TaskId) -> bool {
        self.0.remove(&task).is_some()
    }

    /// Where the first such task is among these.
    pub(crate) fn first(&self, tasks: &[Task]) -> Option<usize> {
        if self.0.is_empty() {
            return None;
        }
        tasks.iter().position(|task| self.0.contains_key(&task.id))
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
