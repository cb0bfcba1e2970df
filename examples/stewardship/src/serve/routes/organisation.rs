//! Many parts of the organisation at once.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{List, Name};
use crate::repositories::{
    Session, StoreError, Thing, connections, links, system_stewards, systems, users,
};
use crate::serve::authorization::{Granted, OrganisationWrite};
use crate::serve::problem::{Problem, Refusals};
use crate::serve::service::{Service, change};

pub(crate) fn router() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(add_to_organisation))
}

/// What is to be there.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Part {
    #[serde(default)]
    #[schema(value_type = Vec<String>, max_items = 1000)]
    users: List<Name>,
    #[serde(default)]
    #[schema(value_type = Vec<String>, max_items = 1000)]
    systems: List<Name>,
    #[serde(default)]
    #[schema(value_type = Vec<String>, max_items = 1000)]
    connections: List<Name>,
    #[serde(default)]
    #[schema(value_type = Vec<SystemSteward>, max_items = 1000)]
    stewards: List<SystemSteward>,
    #[serde(default)]
    #[schema(value_type = Vec<Link>, max_items = 1000)]
    links: List<Link>,
}

/// A user is a steward of a system.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SystemSteward {
    system_id: String,
    user_id: String,
}

/// A system is reached through a connection config.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Link {
    system_id: String,
    connection_config_id: String,
}

/// What was not there before.
#[derive(Default, Serialize, ToSchema)]
struct Created {
    users: Vec<String>,
    systems: Vec<String>,
    connections: Vec<String>,
}

/// Add a part of the organisation
///
/// In one transaction: what is there already stays as it is, and nothing is removed.
#[utoipa::path(post, path = "/organisation", tag = "organisation",
    security(("token" = ["organisation:write"])),
    responses((status = OK, body = Created), Refusals))]
async fn add_to_organisation(
    _: Granted<OrganisationWrite>,
    State(service): State<Service>,
    Json(part): Json<Part>,
) -> Result<Json<Created>, Problem> {
    let created = change!(service, |session| create(session, &part));
    Ok(Json(created.map_err(|problem| {
        problem
            .given_in_body(Thing::User)
            .given_in_body(Thing::System)
            .given_in_body(Thing::Connection)
    })?))
}

async fn create(session: &mut Session, part: &Part) -> Result<Created, StoreError> {
    let mut created = Created::default();
    for Name(id) in &part.users.0 {
        if is_new(users::create(session, id).await)? {
            created.users.push(id.clone());
        }
    }
    for Name(id) in &part.systems.0 {
        if is_new(systems::create(session, id).await)? {
            created.systems.push(id.clone());
        }
    }
    for Name(id) in &part.connections.0 {
        if is_new(connections::create(session, id).await)? {
            created.connections.push(id.clone());
        }
    }
    for SystemSteward { system_id, user_id } in &part.stewards.0 {
        system_stewards::add(session, system_id, user_id).await?;
    }
    for Link { system_id, connection_config_id } in &part.links.0 {
        links::link(session, system_id, connection_config_id).await?;
    }
    Ok(created)
}

fn is_new(created: Result<(), StoreError>) -> Result<bool, StoreError> {
    match created {
        Ok(()) => Ok(true),
        Err(StoreError::Exists { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
