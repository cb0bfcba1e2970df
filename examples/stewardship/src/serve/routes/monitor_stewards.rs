//! The stewards of monitors: those that people decide, and those that are inherited.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::repositories::monitor_stewards;
use crate::serve::authorization::{Granted, MonitorRead, MonitorStewardUpdate};
use crate::serve::page::{Asked, Page, PageOf};
use crate::serve::problem::{Problem, Refusals};
use crate::serve::service::{Service, change};

pub(crate) fn router() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(list_stewards_of_monitor))
        .routes(routes!(add_explicit_steward, remove_explicit_steward))
}

/// A steward of a monitor.
#[derive(Serialize, ToSchema)]
struct Steward {
    user_id: String,
    /// Whether somebody decided so.
    explicit: bool,
    /// The systems that it is inherited from.
    inherited_from: Vec<String>,
}

/// List the stewards of a monitor
#[utoipa::path(get, path = "/monitors/{key}/stewards", tag = "stewards", params(Asked),
    security(("token" = ["monitor:read"])),
    responses((status = OK, body = Page<Steward>), Refusals))]
async fn list_stewards_of_monitor(
    _: Granted<MonitorRead>,
    State(service): State<Service>,
    Path(key): Path<String>,
    page: PageOf,
) -> Result<Json<Page<Steward>>, Problem> {
    let mut connection = service.connection().await?;
    let found = monitor_stewards::list(&mut connection, &key, &page.after, page.fetch()).await?;
    let shown = |monitor_stewards::Steward { user_id, explicit, inherited_from }| Steward {
        user_id,
        explicit,
        inherited_from,
    };
    let found = found.into_iter().map(shown).collect();
    Ok(Json(page.page(found, |steward: &Steward| &steward.user_id)))
}

/// Make a user an explicit steward of a monitor
///
/// Nothing happens if they are one already.
#[utoipa::path(put, path = "/monitors/{key}/stewards/{user_id}", tag = "stewards",
    security(("token" = ["monitor_steward:update"])),
    responses((status = NO_CONTENT), Refusals))]
async fn add_explicit_steward(
    _: Granted<MonitorStewardUpdate>,
    State(service): State<Service>,
    Path((key, user_id)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    change!(service, |session| monitor_stewards::add_explicit(session, &key, &user_id))?;
    Ok(StatusCode::NO_CONTENT)
}

/// End a user's explicit stewardship of a monitor
///
/// What the user inherits stays.
#[utoipa::path(delete, path = "/monitors/{key}/stewards/{user_id}", tag = "stewards",
    security(("token" = ["monitor_steward:update"])),
    responses((status = NO_CONTENT), Refusals))]
async fn remove_explicit_steward(
    _: Granted<MonitorStewardUpdate>,
    State(service): State<Service>,
    Path((key, user_id)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    change!(service, |session| monitor_stewards::remove_explicit(session, &key, &user_id))?;
    Ok(StatusCode::NO_CONTENT)
}
