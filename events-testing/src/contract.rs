//! What every broker promises, as a suite that each runs.
//!
//! An adapter writes a [`Harness`] and one line; each promise becomes a test of its own:
//!
//! ```
//! use events_core::broker::BrokerError;
//! use events_core::Events;
//! use events_runtime::{MemoryQueue, MemorySession};
//! use events_testing::contract::Harness;
//!
//! struct Memory(MemoryQueue);
//!
//! impl Harness for Memory {
//!     type Broker = MemoryQueue;
//!     type Session = MemorySession;
//!
//!     async fn start(events: Events) -> Self {
//!         Self(MemoryQueue::new(&events))
//!     }
//!     fn broker(&self) -> &MemoryQueue {
//!         &self.0
//!     }
//!     async fn begin(&self) -> MemorySession {
//!         self.0.begin()
//!     }
//!     async fn commit(&self, session: MemorySession) -> Result<(), BrokerError> {
//!         session.commit().await
//!     }
//!     async fn rollback(&self, session: MemorySession) {
//!         session.rollback();
//!     }
//! }
//!
//! events_testing::broker_contract!(Memory);
//! # fn main() {}
//! ```
#![expect(clippy::missing_panics_doc, reason = "a promise that is broken panics")]

pub mod cadence;
pub mod claims;
pub mod debounce;
mod fixture;
pub mod liveness;
pub mod operations;
pub mod outcomes;
pub mod sessions;
pub mod transactions;

use std::future::Future;

use events_core::Events;
use events_core::broker::{Admin, Broker, BrokerError};
use events_core::session::Session;

/// How the suite makes a broker and sessions on it.
pub trait Harness: Sized + Send + Sync {
    /// The broker.
    type Broker: Broker + Admin;
    /// A session whose commit enqueues on the broker.
    type Session: Session + Send;

    /// A fresh, empty broker for these events.
    fn start(events: Events) -> impl Future<Output = Self> + Send;

    /// The broker.
    fn broker(&self) -> &Self::Broker;

    /// Begins a session.
    fn begin(&self) -> impl Future<Output = Self::Session> + Send;

    /// Commits it.
    fn commit(
        &self,
        session: Self::Session,
    ) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// Rolls it back.
    fn rollback(&self, session: Self::Session) -> impl Future<Output = ()> + Send;
}

/// Makes a test of every promise, for a [`Harness`](crate::contract::Harness).
#[macro_export]
macro_rules! broker_contract {
    ($harness:ty) => {
        $crate::__contract!($harness;
            sessions: commit_makes_one_task_per_event_and_subscriber,
            sessions: rolled_back_session_publishes_nothing,
            sessions: dropped_session_publishes_nothing,
            sessions: tasks_come_in_the_order_of_publishing,
            sessions: sessions_do_not_see_each_other,
            sessions: kill_switch_drops_what_is_committed,
            sessions: event_without_subscriber_commits,
            sessions: task_arrives_as_it_was_sent,
            claims: two_workers_never_hold_one_task,
            claims: many_concurrent_claims_lease_each_task_once,
            claims: claims_go_by_priority_then_due_time_then_age,
            claims: claim_takes_only_the_queues_it_is_told,
            claims: claim_says_when_the_next_task_is_due,
            claims: unregistered_worker_claims_nothing,
            claims: commit_wakes_a_waiting_worker,
            outcomes: completed_task_is_gone,
            outcomes: retried_task_returns_after_its_pause_with_one_attempt_more,
            outcomes: released_task_costs_no_attempt,
            outcomes: buried_task_is_a_dead_letter_with_every_error,
            outcomes: second_outcome_of_one_claim_is_refused,
            outcomes: outcome_of_an_earlier_claim_is_refused,
            outcomes: one_batch_may_mix_outcomes_and_stale_claims,
            liveness: heartbeat_keeps_the_lease,
            liveness: silent_worker_loses_its_tasks,
            liveness: rescue_costs_the_attempt,
            liveness: repeated_rescue_waits_longer,
            liveness: clock_that_jumps_ahead_takes_nobody_for_dead,
            liveness: clock_that_jumps_back_hides_no_dead_worker,
            liveness: worker_taken_for_dead_is_told_and_cannot_claim,
            liveness: outcome_of_a_rescued_task_is_refused,
            liveness: deregistered_workers_tasks_are_offered_again,
            transactions: commit_completes_the_task_and_publishes,
            transactions: rollback_leaves_the_task_leased,
            transactions: dropped_transaction_leaves_the_task_leased,
            transactions: transaction_of_a_lost_lease_does_not_begin,
            transactions: outcome_after_the_transaction_committed_is_refused,
            debounce: delayed_task_is_due_after_its_delay,
            debounce: task_waits_until_its_key_is_quiet,
            debounce: newer_event_takes_the_place_of_the_one_that_waits,
            debounce: newest_event_of_one_commit_counts,
            debounce: keys_wait_each_for_itself,
            debounce: busy_key_is_handled_after_the_longest_wait,
            debounce: newer_event_waits_while_the_task_runs,
            debounce: rolled_back_event_leaves_the_waiting_task_alone,
            debounce: concurrent_publishers_of_one_key_leave_one_task_with_the_newest_event,
            debounce: concurrent_commits_of_many_keys_disturb_nobody,
            debounce: task_that_is_tried_again_gives_way_to_a_newer_one,
            debounce: task_that_is_tried_again_is_kept_while_no_newer_one_is_due,
            debounce: waiting_tasks_are_counted_and_their_queue_is_watched,
            debounce: claims_bring_all_of_many_keys_that_are_due_at_once,
            cadence: of_many_that_begin_a_run_one_does,
            cadence: run_begins_only_after_the_one_that_is_known,
            cadence: reconciler_is_announced_once,
            cadence: end_of_a_run_is_remembered_unless_another_began,
            operations: counts_tell_every_state,
            operations: dead_letter_can_be_retried,
            operations: dead_letter_can_be_discarded,
            operations: dead_letters_are_paged_newest_first,
            operations: dead_letters_of_one_moment_are_paged_without_loss,
            operations: health_tells_which_queues_nobody_serves,
        );
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __contract {
    ($harness:ty; $($module:ident: $promise:ident),* $(,)?) => {$(
        #[test]
        fn $promise() {
            $crate::__private::tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .expect("a runtime can be made")
                .block_on($crate::contract::$module::$promise::<$harness>());
        }
    )*};
}
