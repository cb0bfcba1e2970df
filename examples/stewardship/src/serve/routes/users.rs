//! Users, and the systems that they are stewards of.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Created, List, Name};
use crate::repositories::system_stewards::{self, Difference};
use crate::repositories::{Thing, users};
use crate::serve::authorization::{Granted, OrganisationRead, OrganisationWrite};
use crate::serve::page::{Asked, Page, PageOf};
use crate::serve::problem::{Problem, Refusals};
use crate::serve::service::{Service, change};

pub(crate) fn router() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(list_users, create_user))
        .routes(routes!(show_user, delete_user))
        .routes(routes!(set_systems_of_user))
}

/// A user, in a list.
#[derive(Serialize, ToSchema)]
struct User {
    user_id: String,
}

/// A user with the systems that they are a steward of.
#[derive(Serialize, ToSchema)]
struct UserWithSystems {
    user_id: String,
    system_ids: Vec<String>,
}

/// A user to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewUser {
    #[schema(inline)]
    user_id: Name,
}

/// All systems that a user is to be a steward of.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WantedSystems {
    #[schema(value_type = Vec<String>, max_items = 1000)]
    system_ids: List<String>,
}

/// All systems that a user is a steward of, and what was different before.
#[derive(Serialize, ToSchema)]
struct SetSystems {
    user_id: String,
    system_ids: Vec<String>,
    /// What was published as added.
    added: Vec<String>,
    /// What was published as removed.
    removed: Vec<String>,
}

/// List users
#[utoipa::path(get, path = "/users", tag = "organisation", params(Asked),
    security(("token" = ["organisation:read"])),
    responses((status = OK, body = Page<User>), Refusals))]
async fn list_users(
    _: Granted<OrganisationRead>,
    State(service): State<Service>,
    page: PageOf,
) -> Result<Json<Page<User>>, Problem> {
    let mut connection = service.connection().await?;
    let ids = users::list(&mut connection, &page.after, page.fetch()).await?;
    let found = ids.into_iter().map(|user_id| User { user_id }).collect();
    Ok(Json(page.page(found, |user: &User| &user.user_id)))
}

/// Create a user
#[utoipa::path(post, path = "/users", tag = "organisation",
    security(("token" = ["organisation:write"])),
    responses((status = CREATED, body = User), Refusals))]
async fn create_user(
    _: Granted<OrganisationWrite>,
    State(service): State<Service>,
    Json(NewUser { user_id: Name(user_id) }): Json<NewUser>,
) -> Result<Created<User>, Problem> {
    change!(service, |session| users::create(session, &user_id))?;
    Ok(Created::below("/users", &user_id.clone(), User { user_id }))
}

/// Show a user, with the systems that they are a steward of
#[utoipa::path(get, path = "/users/{user_id}", tag = "organisation",
    security(("token" = ["organisation:read"])),
    responses((status = OK, body = UserWithSystems), Refusals))]
async fn show_user(
    _: Granted<OrganisationRead>,
    State(service): State<Service>,
    Path(user_id): Path<String>,
) -> Result<Json<UserWithSystems>, Problem> {
    let mut connection = service.connection().await?;
    let system_ids = users::systems(&mut connection, &user_id).await?;
    Ok(Json(UserWithSystems { user_id, system_ids }))
}

/// Delete a user
///
/// With everything that they are a steward of.
#[utoipa::path(delete, path = "/users/{user_id}", tag = "organisation",
    security(("token" = ["organisation:write"])),
    responses((status = NO_CONTENT), Refusals))]
async fn delete_user(
    _: Granted<OrganisationWrite>,
    State(service): State<Service>,
    Path(user_id): Path<String>,
) -> Result<StatusCode, Problem> {
    change!(service, |session| users::delete(session, &user_id))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Make a user the steward of exactly these systems
///
/// What differs is changed and published, and nothing else.
#[utoipa::path(put, path = "/users/{user_id}/systems", tag = "organisation",
    security(("token" = ["organisation:write"])),
    responses((status = OK, body = SetSystems), Refusals))]
async fn set_systems_of_user(
    _: Granted<OrganisationWrite>,
    State(service): State<Service>,
    Path(user_id): Path<String>,
    Json(WantedSystems { system_ids: List(mut system_ids) }): Json<WantedSystems>,
) -> Result<Json<SetSystems>, Problem> {
    system_ids.sort_unstable();
    system_ids.dedup();
    let set = change!(service, |session| {
        system_stewards::set_managed_systems(session, &user_id, &system_ids)
    });
    let Difference { added, removed } =
        set.map_err(|problem| problem.given_in_body(Thing::System))?;
    Ok(Json(SetSystems { user_id, system_ids, added, removed }))
}
