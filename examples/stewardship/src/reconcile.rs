//! The way to the right end state if every event was lost.
//!
//! Both reconcilers go through the monitors as [`sweep`](crate::sweep) does, and differ in what they
//! look for and how they mend it.

use std::time::Duration;

use events_core::extract::States;
use events_core::prelude::*;
use events_core::reconciler::ReconcileError;
use events_core::{Broker as _, Timestamp};

use crate::database::{Connection, Queue};
use crate::inheritance::{self, Converged, Taken};
use crate::repositories;
use crate::statistics::{self, StaleAfter};
use crate::sweep::{Rule, SweepError, sweep};

/// Converges the inherited stewards of all monitors, or of those whose keys are given.
///
/// # Errors
/// The database cannot be reached.
#[reconciles(every = "15m", jitter = "30s", deadline = "10m")]
pub async fn steward_inheritance(
    scope: Scope,
    queue: State<Queue>,
    context: ReconcilerContext,
) -> Result<Report, SweepError> {
    sweep(&InheritedStewards, scope, &queue, &context).await
}

/// Computes the statistics of all monitors whose statistics are missing or old, or of those whose
/// keys are given. In its report, `added` counts the monitors whose statistics were wrong.
///
/// # Errors
/// The database cannot be reached.
#[reconciles(every = "15m", jitter = "30s", deadline = "10m")]
pub async fn aggregate_statistics(
    scope: Scope,
    queue: State<Queue>,
    stale_after: State<StaleAfter>,
    context: ReconcilerContext,
) -> Result<Report, SweepError> {
    let now = queue.events().now();
    let rule = Statistics { old: now.before(stale_after.0.0), now };
    sweep(&rule, scope, &queue, &context).await
}

/// What the reconcilers of a worker take; its sweeps leave statistics alone that are not yet old.
#[must_use]
pub fn states(queue: &Queue, stale_after: StaleAfter) -> States {
    let mut states = States::new();
    states.insert(queue.clone());
    states.insert(stale_after);
    states
}

/// Runs every reconciler, and all of it: what is young is looked at too.
///
/// # Errors
/// The first that failed as a whole.
pub async fn everything(
    queue: &Queue,
    scope: &Scope,
) -> Result<Vec<(&'static str, Report)>, ReconcileError> {
    let states = states(queue, StaleAfter(Duration::ZERO));
    let events = queue.events();
    let mut reports = Vec::new();
    for reconciler in events.registry().reconcilers() {
        let report = events.reconcile(reconciler.name, scope.clone(), &states).await?;
        reports.push((reconciler.name, report));
    }
    Ok(reports)
}

/// Monitors whose inherited stewards are not those that are due.
struct InheritedStewards;

impl Rule for InheritedStewards {
    async fn suspects(
        &self,
        connection: &mut Connection,
        after: &str,
        last: &str,
    ) -> Result<Vec<String>, sqlx::Error> {
        // A monitor is right that has every row that is due, and as many.
        sqlx::query_scalar(
            "SELECT key FROM monitor_configs AS monitors
             WHERE key > $1 AND key <= $2
               AND (SELECT count(*) FROM monitor_stewards AS kept
                    WHERE kept.monitor_config_key = monitors.key
                      AND kept.source_system_id IS NOT NULL)
                <> (SELECT CASE count(*) WHEN count(kept.user_id) THEN count(*) ELSE -1 END
                    FROM due_inherited_stewards AS due
                    LEFT JOIN monitor_stewards AS kept
                        ON kept.monitor_config_key = due.monitor_config_key
                        AND kept.source_system_id = due.source_system_id
                        AND kept.user_id = due.user_id
                    WHERE due.monitor_config_key = monitors.key)
             ORDER BY key",
        )
        .bind(after)
        .bind(last)
        .fetch_all(connection)
        .await
    }

    async fn mend(
        &self,
        session: &mut repositories::Session,
        monitors: &Taken,
    ) -> Result<Converged, sqlx::Error> {
        inheritance::converge(session, monitors).await
    }
}

/// Monitors whose statistics are missing, or were computed before then; or after now, by a clock that
/// was ahead.
struct Statistics {
    old: Timestamp,
    now: Timestamp,
}

impl Rule for Statistics {
    async fn suspects(
        &self,
        connection: &mut Connection,
        after: &str,
        last: &str,
    ) -> Result<Vec<String>, sqlx::Error> {
        sqlx::query_scalar(
            "SELECT monitors.key FROM monitor_configs AS monitors
             LEFT JOIN monitor_aggregate_statistics AS kept
                 ON kept.monitor_config_key = monitors.key
             WHERE monitors.key > $1 AND monitors.key <= $2
               AND (kept.computed_at_micros <= $3
                   OR kept.computed_at_micros >= $4
                   OR (kept.computed_at_micros IS NULL AND EXISTS (
                       SELECT 1 FROM monitor_operations AS done
                       WHERE done.monitor_config_key = monitors.key)))
             ORDER BY monitors.key",
        )
        .bind(after)
        .bind(last)
        .bind(self.old.as_micros())
        .bind(self.now.as_micros())
        .fetch_all(connection)
        .await
    }

    async fn mend(
        &self,
        session: &mut repositories::Session,
        monitors: &Taken,
    ) -> Result<Converged, sqlx::Error> {
        let now = session.pending_events().events().now();
        let added = statistics::recompute(session, monitors, now).await?;
        Ok(Converged { added, removed: 0 })
    }
}
