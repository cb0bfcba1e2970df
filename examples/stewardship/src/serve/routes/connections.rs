//! Connection configs, and the systems that are reached through them.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Created, Name};
use crate::repositories::{connections, links};
use crate::serve::authorization::{Granted, OrganisationRead, OrganisationWrite};
use crate::serve::page::{Asked, Page, PageOf};
use crate::serve::problem::{Problem, Refusals};
use crate::serve::service::{Service, change};

pub(crate) fn router() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(list_connections, create_connection))
        .routes(routes!(show_connection, delete_connection))
        .routes(routes!(link_system, unlink_system))
}

/// A connection config, in a list.
#[derive(Serialize, ToSchema)]
struct Connection {
    connection_config_id: String,
}

/// A connection config, with the systems that are reached through it.
#[derive(Serialize, ToSchema)]
struct ConnectionWithSystems {
    connection_config_id: String,
    system_ids: Vec<String>,
}

/// A connection config to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewConnection {
    #[schema(inline)]
    connection_config_id: Name,
}

/// List connection configs
#[utoipa::path(get, path = "/connections", tag = "organisation", params(Asked),
    security(("token" = ["organisation:read"])),
    responses((status = OK, body = Page<Connection>), Refusals))]
async fn list_connections(
    _: Granted<OrganisationRead>,
    State(service): State<Service>,
    page: PageOf,
) -> Result<Json<Page<Connection>>, Problem> {
    let mut connection = service.connection().await?;
    let ids = connections::list(&mut connection, &page.after, page.fetch()).await?;
    let named = |connection_config_id| Connection { connection_config_id };
    let found = ids.into_iter().map(named).collect();
    Ok(Json(page.page(found, |found: &Connection| &found.connection_config_id)))
}

/// Create a connection config
#[utoipa::path(post, path = "/connections", tag = "organisation",
    security(("token" = ["organisation:write"])),
    responses((status = CREATED, body = Connection), Refusals))]
async fn create_connection(
    _: Granted<OrganisationWrite>,
    State(service): State<Service>,
    Json(NewConnection { connection_config_id: Name(id) }): Json<NewConnection>,
) -> Result<Created<Connection>, Problem> {
    change!(service, |session| connections::create(session, &id))?;
    Ok(Created::below("/connections", &id.clone(), Connection { connection_config_id: id }))
}

/// Show a connection config, with the systems that are reached through it
#[utoipa::path(get, path = "/connections/{connection_config_id}", tag = "organisation",
    security(("token" = ["organisation:read"])),
    responses((status = OK, body = ConnectionWithSystems), Refusals))]
async fn show_connection(
    _: Granted<OrganisationRead>,
    State(service): State<Service>,
    Path(connection_config_id): Path<String>,
) -> Result<Json<ConnectionWithSystems>, Problem> {
    let mut connection = service.connection().await?;
    let system_ids = connections::systems(&mut connection, &connection_config_id).await?;
    Ok(Json(ConnectionWithSystems { connection_config_id, system_ids }))
}

/// Delete a connection config
///
/// Its monitors live on and watch nothing. Nothing is published: what they have inherited over it
/// stays until the next sweep.
#[utoipa::path(delete, path = "/connections/{connection_config_id}", tag = "organisation",
    security(("token" = ["organisation:write"])),
    responses((status = NO_CONTENT), Refusals))]
async fn delete_connection(
    _: Granted<OrganisationWrite>,
    State(service): State<Service>,
    Path(connection_config_id): Path<String>,
) -> Result<StatusCode, Problem> {
    change!(service, |session| connections::delete(session, &connection_config_id))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Link a system to a connection config
///
/// Nothing happens if it is linked already.
#[utoipa::path(put, path = "/connections/{connection_config_id}/systems/{system_id}",
    tag = "organisation", security(("token" = ["organisation:write"])),
    responses((status = NO_CONTENT), Refusals))]
async fn link_system(
    _: Granted<OrganisationWrite>,
    State(service): State<Service>,
    Path((connection_config_id, system_id)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    change!(service, |session| links::link(session, &system_id, &connection_config_id))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Unlink a system from a connection config
///
/// Nothing happens if it is not linked.
#[utoipa::path(delete, path = "/connections/{connection_config_id}/systems/{system_id}",
    tag = "organisation", security(("token" = ["organisation:write"])),
    responses((status = NO_CONTENT), Refusals))]
async fn unlink_system(
    _: Granted<OrganisationWrite>,
    State(service): State<Service>,
    Path((connection_config_id, system_id)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    change!(service, |session| links::unlink(session, &system_id, &connection_config_id))?;
    Ok(StatusCode::NO_CONTENT)
}
