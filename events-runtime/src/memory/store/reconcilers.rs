//! When reconcilers ran.

use events_core::cadence::{ReconcilerState, RunResult, RunStart};
use events_core::clock::Timestamp;

use super::Store;

impl Store {
    pub(in crate::memory) fn reconcilers(&self) -> Vec<ReconcilerState> {
        self.reconcilers.values().cloned().collect()
    }

    pub(in crate::memory) fn announce_reconciler(
        &mut self,
        name: &'static str,
        next_at: Timestamp,
    ) {
        self.reconcilers.entry(name).or_insert_with(|| ReconcilerState {
            name: name.to_owned(),
            started_at: None,
            started_by: None,
            next_at,
            ended_at: None,
            result: None,
        });
    }

    pub(in crate::memory) fn begin_run(&mut self, start: &RunStart) -> bool {
        self.announce_reconciler(start.name, start.next_at);
        let state = self.reconcilers.get_mut(start.name).expect("it is known now");
        if state.started_at != start.after {
            return false;
        }
        state.started_at = Some(start.started_at);
        state.started_by = Some(start.started_by);
        state.next_at = start.next_at;
        true
    }

    pub(in crate::memory) fn end_run(
        &mut self,
        name: &'static str,
        started_at: Timestamp,
        ended_at: Timestamp,
        result: &RunResult,
    ) {
        let state = self.reconcilers.get_mut(name);
        if let Some(state) = state.filter(|state| state.started_at == Some(started_at)) {
            state.ended_at = Some(ended_at);
            state.result = Some(result.clone());
        }
    }
}
