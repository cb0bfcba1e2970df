//! What monitors complete, and what comes of it: resources and statistics.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use events_core::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{List, Name};
use crate::repositories::operations;
use crate::serve::authorization::{Granted, MonitorRead, MonitorUpdate};
use crate::serve::page::{Asked, Page, PageOf};
use crate::serve::problem::{Problem, Refusals};
use crate::serve::service::{Service, change};

pub(crate) fn router() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(complete_operation))
        .routes(routes!(list_resources))
        .routes(routes!(show_statistics))
}

/// An operation that a monitor has completed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Completed {
    /// `monitor_execution` finds resources; `classify`, `review`, `confirm`, `promote`, `mute` and
    /// `unmute` move those that are ready for it; any other is recorded.
    #[schema(inline)]
    operation_type: Name,
    /// The resources that it is about. If none is named, an execution finds a new one, and the others
    /// are about all.
    #[serde(default)]
    #[schema(value_type = Vec<String>, max_items = 1000)]
    urns: List<Name>,
}

/// A resource that a monitor has found.
#[derive(Serialize, ToSchema)]
struct Resource {
    urn: String,
    /// `addition`, `classified`, `reviewed`, `confirmed`, `promoted` or `muted`.
    status: String,
}

/// How many resources a monitor has in which status.
#[derive(Serialize, ToSchema)]
struct Statistics {
    addition: i64,
    classified: i64,
    reviewed: i64,
    confirmed: i64,
    promoted: i64,
    muted: i64,
    /// How many operations it has completed.
    operations: i64,
    /// When the last of them was completed, as RFC 3339 has it.
    last_completed_at: Option<String>,
    /// When all this was computed; null if it was not yet.
    computed_at: Option<String>,
}

impl From<operations::Statistics> for Statistics {
    fn from(computed: operations::Statistics) -> Self {
        let told = |micros| match micros {
            0 => None,
            micros => Some(Timestamp::from_micros(micros).to_string()),
        };
        Self {
            addition: computed.addition,
            classified: computed.classified,
            reviewed: computed.reviewed,
            confirmed: computed.confirmed,
            promoted: computed.promoted,
            muted: computed.muted,
            operations: computed.operations,
            last_completed_at: told(computed.last_completed_at_micros),
            computed_at: told(computed.computed_at_micros),
        }
    }
}

/// Report that a monitor has completed an operation
///
/// It is published; the statistics follow within seconds, once for all operations of a burst.
#[utoipa::path(post, path = "/monitors/{key}/operations", tag = "operations",
    security(("token" = ["monitor:update"])),
    responses((status = NO_CONTENT), Refusals))]
async fn complete_operation(
    _: Granted<MonitorUpdate>,
    State(service): State<Service>,
    Path(key): Path<String>,
    Json(Completed { operation_type: Name(of_type), urns }): Json<Completed>,
) -> Result<StatusCode, Problem> {
    let urns: Vec<String> = urns.0.into_iter().map(|Name(urn)| urn).collect();
    change!(service, |session| operations::complete(session, &key, &of_type, &urns))?;
    Ok(StatusCode::NO_CONTENT)
}

/// List the resources of a monitor
#[utoipa::path(get, path = "/monitors/{key}/resources", tag = "operations", params(Asked),
    security(("token" = ["monitor:read"])),
    responses((status = OK, body = Page<Resource>), Refusals))]
async fn list_resources(
    _: Granted<MonitorRead>,
    State(service): State<Service>,
    Path(key): Path<String>,
    page: PageOf,
) -> Result<Json<Page<Resource>>, Problem> {
    let mut connection = service.connection().await?;
    let found = operations::resources(&mut connection, &key, &page.after, page.fetch()).await?;
    let shown = |operations::Resource { urn, status }| Resource { urn, status };
    let found = found.into_iter().map(shown).collect();
    Ok(Json(page.page(found, |resource: &Resource| &resource.urn)))
}

/// Show the statistics of a monitor, and when they were computed
#[utoipa::path(get, path = "/monitors/{key}/statistics", tag = "operations",
    security(("token" = ["monitor:read"])),
    responses((status = OK, body = Statistics), Refusals))]
async fn show_statistics(
    _: Granted<MonitorRead>,
    State(service): State<Service>,
    Path(key): Path<String>,
) -> Result<Json<Statistics>, Problem> {
    let mut connection = service.connection().await?;
    let computed = operations::statistics(&mut connection, &key).await?;
    Ok(Json(computed.unwrap_or_default().into()))
}
