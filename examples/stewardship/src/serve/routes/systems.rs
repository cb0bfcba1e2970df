//! Systems, and their stewards.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Created, Name};
use crate::repositories::{system_stewards, systems};
use crate::serve::authorization::{Granted, OrganisationRead, OrganisationWrite};
use crate::serve::page::{Asked, Page, PageOf};
use crate::serve::problem::{Problem, Refusals};
use crate::serve::service::{Service, change};

pub(crate) fn router() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(list_systems, create_system))
        .routes(routes!(show_system, delete_system))
        .routes(routes!(add_steward_of_system, remove_steward_of_system))
}

/// A system, in a list.
#[derive(Serialize, ToSchema)]
struct System {
    system_id: String,
}

/// A system, with who manages it and how it is reached.
#[derive(Serialize, ToSchema)]
struct SystemWithRelations {
    system_id: String,
    steward_ids: Vec<String>,
    connection_config_ids: Vec<String>,
}

/// A system to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSystem {
    #[schema(inline)]
    system_id: Name,
}

/// List systems
#[utoipa::path(get, path = "/systems", tag = "organisation", params(Asked),
    security(("token" = ["organisation:read"])),
    responses((status = OK, body = Page<System>), Refusals))]
async fn list_systems(
    _: Granted<OrganisationRead>,
    State(service): State<Service>,
    page: PageOf,
) -> Result<Json<Page<System>>, Problem> {
    let mut connection = service.connection().await?;
    let ids = systems::list(&mut connection, &page.after, page.fetch()).await?;
    let found = ids.into_iter().map(|system_id| System { system_id }).collect();
    Ok(Json(page.page(found, |system: &System| &system.system_id)))
}

/// Create a system
#[utoipa::path(post, path = "/systems", tag = "organisation",
    security(("token" = ["organisation:write"])),
    responses((status = CREATED, body = System), Refusals))]
async fn create_system(
    _: Granted<OrganisationWrite>,
    State(service): State<Service>,
    Json(NewSystem { system_id: Name(system_id) }): Json<NewSystem>,
) -> Result<Created<System>, Problem> {
    change!(service, |session| systems::create(session, &system_id))?;
    Ok(Created::below("/systems", &system_id.clone(), System { system_id }))
}

/// Show a system, with its stewards and the connections that it is reached through
#[utoipa::path(get, path = "/systems/{system_id}", tag = "organisation",
    security(("token" = ["organisation:read"])),
    responses((status = OK, body = SystemWithRelations), Refusals))]
async fn show_system(
    _: Granted<OrganisationRead>,
    State(service): State<Service>,
    Path(system_id): Path<String>,
) -> Result<Json<SystemWithRelations>, Problem> {
    let mut connection = service.connection().await?;
    let (steward_ids, connection_config_ids) =
        systems::relations(&mut connection, &system_id).await?;
    Ok(Json(SystemWithRelations { system_id, steward_ids, connection_config_ids }))
}

/// Delete a system
///
/// Its stewards and links go along and nothing is published: what monitors have inherited from it
/// stays until the next sweep.
#[utoipa::path(delete, path = "/systems/{system_id}", tag = "organisation",
    security(("token" = ["organisation:write"])),
    responses((status = NO_CONTENT), Refusals))]
async fn delete_system(
    _: Granted<OrganisationWrite>,
    State(service): State<Service>,
    Path(system_id): Path<String>,
) -> Result<StatusCode, Problem> {
    change!(service, |session| systems::delete(session, &system_id))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Make a user a steward of a system
///
/// Nothing happens if they are one already.
#[utoipa::path(put, path = "/systems/{system_id}/stewards/{user_id}", tag = "organisation",
    security(("token" = ["organisation:write"])),
    responses((status = NO_CONTENT), Refusals))]
async fn add_steward_of_system(
    _: Granted<OrganisationWrite>,
    State(service): State<Service>,
    Path((system_id, user_id)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    change!(service, |session| system_stewards::add(session, &system_id, &user_id))?;
    Ok(StatusCode::NO_CONTENT)
}

/// End a user's stewardship of a system
///
/// Nothing happens if they are no steward of it.
#[utoipa::path(delete, path = "/systems/{system_id}/stewards/{user_id}", tag = "organisation",
    security(("token" = ["organisation:write"])),
    responses((status = NO_CONTENT), Refusals))]
async fn remove_steward_of_system(
    _: Granted<OrganisationWrite>,
    State(service): State<Service>,
    Path((system_id, user_id)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    change!(service, |session| system_stewards::remove(session, &system_id, &user_id))?;
    Ok(StatusCode::NO_CONTENT)
}
