//! What a worker has done, as counters.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident / $add:ident),* $(,)?) => {
        /// What a worker has done since it was built. Counters only grow.
        #[derive(Debug, Default)]
        pub struct Statistics {
            $($name: AtomicU64,)*
        }

        impl Statistics {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $name(&self) -> u64 {
                    self.$name.load(Ordering::Relaxed)
                }

                pub(crate) fn $add(&self, count: u64) {
                    self.$name.fetch_add(count, Ordering::Relaxed);
                }
            )*
        }
    };
}

counters! {
    /// Tasks claimed.
    claimed / add_claimed,
    /// Tasks completed.
    completed / add_completed,
    /// Attempts that failed and are tried again.
    retried / add_retried,
    /// Tasks put back without costing an attempt: snoozed, unknown here, or interrupted.
    released / add_released,
    /// Tasks that became dead letters.
    dead / add_dead,
    /// Outcomes dropped because the lease had passed to another worker.
    stale / add_stale,
    /// Tasks taken over from dead or stalled workers.
    rescued / add_rescued,
}
