//! The sweep on demand.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use events_core::reconciler::ReconcilerContext;
use events_core::{Broker as _, Report, Scope};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::List;
use crate::reconcile;
use crate::serve::authorization::{Granted, MonitorStewardUpdate};
use crate::serve::problem::{Problem, Refusals};
use crate::serve::service::Service;
use crate::statistics::StaleAfter;

pub(crate) fn router() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(reconcile_stewardship))
}

/// Which monitors; all if the body is empty.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[schema(value_type = Option<Vec<String>>, max_items = 1000)]
    monitor_config_keys: Option<List<String>>,
}

/// What the sweep has found and done.
#[derive(Serialize, ToSchema)]
struct Reconciled {
    /// Monitors looked at.
    checked: u64,
    /// Inherited stewards that were missing and are there now.
    added: u64,
    /// Inherited stewards that were wrong and are gone.
    removed: u64,
    /// Monitors that could not be reconciled; the others were.
    failed: Vec<Failed>,
}

/// A monitor that could not be reconciled.
#[derive(Serialize, ToSchema)]
struct Failed {
    monitor_config_key: String,
    reason: String,
}

impl From<Report> for Reconciled {
    fn from(Report { checked, added, removed, failed }: Report) -> Self {
        let failed = failed
            .into_iter()
            .map(|(monitor_config_key, reason)| Failed { monitor_config_key, reason });
        Self { checked, added, removed, failed: failed.collect() }
    }
}

/// Converge the inherited stewards of all monitors, or of some, now
///
/// It answers when it is done; if nobody waits for the answer any more, it ends where it is. One runs
/// at a time. When the next sweep is due by itself stays as it is.
#[utoipa::path(post, path = "/discovery-monitor/stewardship/reconcile", tag = "reconcilers",
    security(("token" = ["monitor_steward:update"])),
    request_body(content = Option<Wanted>, content_type = "application/json"),
    responses((status = OK, body = Reconciled), Refusals))]
async fn reconcile_stewardship(
    _: Granted<MonitorStewardUpdate>,
    State(service): State<Service>,
    body: Bytes,
) -> Result<Json<Reconciled>, Problem> {
    let scope = match wanted(&body)?.monitor_config_keys {
        None => Scope::All,
        Some(List(keys)) => Scope::Keys(keys),
    };
    let _turn = service.sweeps.begin()?;
    // Of these two a sweep of stewards takes the queue only.
    let mut states = reconcile::states(&service.queue, StaleAfter(Duration::ZERO));
    states.insert(ReconcilerContext::new(service.sweeps.stopping.token()));
    let events = service.queue.events();
    Ok(Json(events.reconcile("steward_inheritance", scope, &states).await?.into()))
}

/// Some clients say that an empty body is JSON, and some say nothing.
fn wanted(body: &[u8]) -> Result<Wanted, Problem> {
    if body.trim_ascii().is_empty() {
        return Ok(Wanted::default());
    }
    let Json(wanted) = Json::from_bytes(body)
        .map_err(|rejection| Problem::of(rejection.status()).detail(rejection.body_text()))?;
    Ok(wanted)
}
