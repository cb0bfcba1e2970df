//! Monitors: what they watch, and whether they inherit.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Created, Name};
use crate::repositories::{Session, StoreError, Thing, monitors};
use crate::serve::authorization::{Granted, MonitorRead, MonitorUpdate};
use crate::serve::page::{Asked, Page, PageOf};
use crate::serve::problem::{Problem, Refusals};
use crate::serve::service::{Service, change};

pub(crate) fn router() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(list_monitors, create_monitor)).routes(routes!(
        show_monitor,
        change_monitor,
        delete_monitor
    ))
}

/// A monitor, as it is set.
#[derive(Serialize, ToSchema)]
struct Monitor {
    key: String,
    /// What it watches; null if nothing.
    connection_config_id: Option<String>,
    /// Whether it inherits the stewards of the systems that are reached through what it watches.
    inherit_system_stewards: bool,
}

impl From<monitors::Monitor> for Monitor {
    fn from(monitor: monitors::Monitor) -> Self {
        let monitors::Monitor { key, connection_config_id, inherit_system_stewards } = monitor;
        Self { key, connection_config_id, inherit_system_stewards }
    }
}

/// A monitor to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewMonitor {
    #[schema(inline)]
    key: Name,
    #[serde(default)]
    connection_config_id: Option<String>,
    inherit_system_stewards: bool,
}

/// What is to be different. What is not given stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct MonitorChange {
    /// What it is to watch; null is nothing.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    connection_config_id: Watched,
    #[serde(default)]
    inherit_system_stewards: Option<bool>,
}

/// A null that is given is not the same as nothing that is given.
#[derive(Default, Deserialize)]
#[serde(from = "Option<String>")]
enum Watched {
    #[default]
    AsItIs,
    From(Option<String>),
}

impl From<Option<String>> for Watched {
    fn from(given: Option<String>) -> Self {
        Self::From(given)
    }
}

/// List monitors
#[utoipa::path(get, path = "/monitors", tag = "monitors", params(Asked),
    security(("token" = ["monitor:read"])),
    responses((status = OK, body = Page<Monitor>), Refusals))]
async fn list_monitors(
    _: Granted<MonitorRead>,
    State(service): State<Service>,
    page: PageOf,
) -> Result<Json<Page<Monitor>>, Problem> {
    let mut connection = service.connection().await?;
    let found = monitors::list(&mut connection, &page.after, page.fetch()).await?;
    let found = found.into_iter().map(Monitor::from).collect();
    Ok(Json(page.page(found, |monitor: &Monitor| &monitor.key)))
}

/// Create a monitor
///
/// If it inherits, that is published, and its stewards are there soon after.
#[utoipa::path(post, path = "/monitors", tag = "monitors",
    security(("token" = ["monitor:update"])),
    responses((status = CREATED, body = Monitor), Refusals))]
async fn create_monitor(
    _: Granted<MonitorUpdate>,
    State(service): State<Service>,
    Json(new): Json<NewMonitor>,
) -> Result<Created<Monitor>, Problem> {
    let NewMonitor { key: Name(key), connection_config_id, inherit_system_stewards } = new;
    let watched = connection_config_id.as_deref();
    change!(service, |session| {
        monitors::create(session, &key, watched, inherit_system_stewards)
    })
    .map_err(|problem| problem.given_in_body(Thing::Connection))?;
    let address = key.clone();
    let monitor = Monitor { key, connection_config_id, inherit_system_stewards };
    Ok(Created::below("/monitors", &address, monitor))
}

/// Show a monitor
#[utoipa::path(get, path = "/monitors/{key}", tag = "monitors",
    security(("token" = ["monitor:read"])),
    responses((status = OK, body = Monitor), Refusals))]
async fn show_monitor(
    _: Granted<MonitorRead>,
    State(service): State<Service>,
    Path(key): Path<String>,
) -> Result<Json<Monitor>, Problem> {
    let mut connection = service.connection().await?;
    Ok(Json(monitors::find(&mut connection, &key).await?.into()))
}

/// Change what a monitor watches, or whether it inherits
///
/// What differs is changed and published, and nothing else.
#[utoipa::path(patch, path = "/monitors/{key}", tag = "monitors",
    security(("token" = ["monitor:update"])),
    responses((status = OK, body = Monitor), Refusals))]
async fn change_monitor(
    _: Granted<MonitorUpdate>,
    State(service): State<Service>,
    Path(key): Path<String>,
    Json(wanted): Json<MonitorChange>,
) -> Result<Json<Monitor>, Problem> {
    let monitor = change!(service, |session| apply(session, &key, &wanted));
    Ok(Json(monitor.map_err(|problem| problem.given_in_body(Thing::Connection))?.into()))
}

async fn apply(
    session: &mut Session,
    key: &str,
    wanted: &MonitorChange,
) -> Result<monitors::Monitor, StoreError> {
    if let Watched::From(watched) = &wanted.connection_config_id {
        monitors::reassign_connection(session, key, watched.as_deref()).await?;
    }
    if let Some(enabled) = wanted.inherit_system_stewards {
        monitors::set_inheritance(session, key, enabled).await?;
    }
    monitors::find(session, key).await
}

/// Delete a monitor
///
/// With everything that was derived for it.
#[utoipa::path(delete, path = "/monitors/{key}", tag = "monitors",
    security(("token" = ["monitor:update"])),
    responses((status = NO_CONTENT), Refusals))]
async fn delete_monitor(
    _: Granted<MonitorUpdate>,
    State(service): State<Service>,
    Path(key): Path<String>,
) -> Result<StatusCode, Problem> {
    change!(service, |session| monitors::delete(session, &key))?;
    Ok(StatusCode::NO_CONTENT)
}
