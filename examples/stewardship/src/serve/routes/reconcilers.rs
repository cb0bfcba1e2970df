//! When sweeps ran, and how they ended.

use axum::Json;
use axum::extract::State;
use events_core::Broker as _;
use events_core::cadence::{ReconcilerRuns as _, ReconcilerState, Schedule};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::serve::authorization::{Granted, MonitorRead};
use crate::serve::problem::{Problem, Refusals};
use crate::serve::service::Service;

pub(crate) fn router() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(list_reconcilers))
}

/// All reconcilers.
#[derive(Serialize, ToSchema)]
struct Reconcilers {
    items: Vec<Reconciler>,
}

/// A reconciler, and its last run by itself, by any worker.
#[derive(Serialize, ToSchema)]
struct Reconciler {
    name: String,
    /// From one start to the next, as this process is configured; null if it has no interval.
    every_seconds: Option<u64>,
    /// The cron expression and its time zone, if it runs by one.
    cron: Option<String>,
    /// When its last run started; null if it never ran.
    started_at: Option<String>,
    /// The worker that ran it.
    started_by: Option<String>,
    /// When the last run ended that came to its end.
    ended_at: Option<String>,
    /// Whether a run has started and not ended.
    running: bool,
    /// How the last run ended.
    result: Option<RunResult>,
    /// When the next is due; null until a worker has announced it.
    next_at: Option<String>,
}

/// How a run ended.
#[derive(Serialize, ToSchema)]
struct RunResult {
    /// Items looked at.
    checked: u64,
    /// Items or rows that were added or removed.
    changed: u64,
    /// Items that could not be reconciled.
    failed: u64,
    /// Why the run as a whole failed, if it did.
    error: Option<String>,
}

/// List the reconcilers: when each ran, how it ended and when it runs next
#[utoipa::path(get, path = "/reconcilers", tag = "reconcilers",
    security(("token" = ["monitor:read"])),
    responses((status = OK, body = Reconcilers), Refusals))]
async fn list_reconcilers(
    _: Granted<MonitorRead>,
    State(service): State<Service>,
) -> Result<Json<Reconcilers>, Problem> {
    let states = service.queue.reconcilers().await?;
    let events = service.queue.events();
    let items = events.registry().reconcilers().iter().map(|reconciler| {
        let (every_seconds, cron) = match events.cadence(reconciler).map(|it| it.schedule) {
            Some(Schedule::Every(interval)) => (Some(interval.as_secs()), None),
            Some(Schedule::Cron { expression, time_zone }) => {
                (None, Some(format!("{expression} ({time_zone})")))
            }
            None => (None, None),
        };
        let state = states.iter().find(|state| state.name == reconciler.name);
        Reconciler { every_seconds, cron, ..Reconciler::of(reconciler.name, state) }
    });
    Ok(Json(Reconcilers { items: items.collect() }))
}

impl Reconciler {
    fn of(name: &str, state: Option<&ReconcilerState>) -> Self {
        let result = state.and_then(|state| state.result.clone()).map(|result| RunResult {
            checked: result.checked,
            changed: result.changed,
            failed: result.failed,
            error: result.error,
        });
        Self {
            name: name.to_owned(),
            every_seconds: None,
            cron: None,
            started_at: state.and_then(|state| state.started_at).map(|at| at.to_string()),
            started_by: state.and_then(|state| state.started_by).map(|worker| worker.to_string()),
            ended_at: state.and_then(|state| state.ended_at).map(|at| at.to_string()),
            running: state.is_some_and(ReconcilerState::is_running),
            result,
            next_at: state.map(|state| state.next_at.to_string()),
        }
    }
}
