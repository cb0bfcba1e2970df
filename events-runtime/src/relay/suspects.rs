//! Which task it is on which a transport panics: it is looked for by halves.
//!
//! A panic does not tell on what. So fewer tasks are sent at once, from the beginning, until one is
//! alone.

use events_core::TaskId;
use tokio::time::Instant;

/// So often a transport panics on a task alone before that is taken for the task's fault.
const TRIES: u32 = 5;

/// What becomes of a task on which the transport panics alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is tried again.
    Again,
    /// It is tried again when others were sent: maybe it is not the task's fault.
    Aside,
    /// It never can be sent.
    Guilty,
}

#[derive(Debug)]
pub(crate) struct Suspects {
    /// How many of the first tasks of the outbox are suspected.
    tasks: usize,
    /// Since when it is looked for.
    since: Option<Instant>,
    /// The one on which it panicked alone, and how often.
    alone: Option<(TaskId, u32)>,
    /// Whether anything was sent since one was found guilty. A transport that panics on everything
    /// must not make dead letters of everything.
    others_pass: bool,
}

impl Default for Suspects {
    fn default() -> Self {
        Self { tasks: 0, since: None, alone: None, others_pass: true }
    }
}

impl Suspects {
    /// The most tasks that are to be sent at once.
    pub(crate) fn most(&self) -> usize {
        if self.tasks == 0 { usize::MAX } else { (self.tasks / 2).max(1) }
    }

    /// Since when it is looked for, if it is.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// The transport came back from so many tasks.
    pub(crate) fn pass(&mut self, tasks: usize) {
        self.others_pass = true;
        self.are(self.tasks.saturating_sub(tasks));
    }

    /// It is one of so many.
    pub(crate) fn are(&mut self, tasks: usize) {
        self.tasks = tasks;
        self.since = (tasks > 0).then(|| self.since.unwrap_or_else(Instant::now));
    }

    /// It panicked on this one, which was alone.
    pub(crate) fn is(&mut self, task: TaskId) -> Verdict {
        let before = self.alone.filter(|(other, _)| *other == task).map_or(0, |(_, times)| times);
        if before + 1 < TRIES {
            self.are(1);
            self.alone = Some((task, before + 1));
            return Verdict::Again;
        }
        let guilty = self.others_pass;
        *self = Self { others_pass: false, ..Self::default() };
        if guilty { Verdict::Guilty } else { Verdict::Aside }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends tasks through a transport that panics on some. How many were sent with each call.
    fn send(tasks: &mut Vec<TaskId>, panics: impl Fn(TaskId) -> bool) -> (Vec<usize>, Vec<TaskId>) {
        let (mut suspects, mut sent, mut guilty) = (Suspects::default(), Vec::new(), Vec::new());
        for _ in 0..200 {
            let batch = tasks[..tasks.len().min(suspects.most())].to_vec();
            match batch.as_slice() {
                [] => break,
                all if !all.iter().any(|task| panics(*task)) => {
                    suspects.pass(all.len());
                    sent.push(all.len());
                    tasks.drain(..all.len());
                }
                [task] => match suspects.is(*task) {
                    Verdict::Again => {}
                    Verdict::Guilty => guilty.push(tasks.remove(0)),
                    Verdict::Aside => tasks.rotate_left(1),
                },
                several => suspects.are(several.len()),
            }
        }
        (sent, guilty)
    }

    #[test]
    fn the_guilty_one_is_found_by_halves_and_what_passes_is_sent_once() {
        let mut tasks: Vec<_> = (0..2_000).map(|_| TaskId::generate()).collect();
        let poison = tasks[1_500];
        let (sent, guilty) = send(&mut tasks, |task| task == poison);
        assert_eq!((tasks.len(), guilty), (0, vec![poison]));
        assert_eq!(sent.iter().sum::<usize>(), 1_999);
        assert!(sent.len() <= 12, "{sent:?}");
    }

    #[test]
    fn several_guilty_ones_are_found_one_after_the_other() {
        let mut tasks: Vec<_> = (0..100).map(|_| TaskId::generate()).collect();
        let poison = [tasks[0], tasks[1], tasks[50]];
        let (sent, guilty) = send(&mut tasks, |task| poison.contains(&task));
        assert_eq!((tasks.len(), guilty.len(), sent.iter().sum::<usize>()), (0, 3, 97));
    }

    #[test]
    fn a_transport_that_panics_on_everything_finds_one_guilty_at_most() {
        let mut tasks: Vec<_> = (0..100).map(|_| TaskId::generate()).collect();
        let (sent, guilty) = send(&mut tasks, |_| true);
        assert_eq!((tasks.len(), guilty.len(), sent.len()), (99, 1, 0));
    }
}
