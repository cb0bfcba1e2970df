//! Whether the process lives, and whether it can do its work.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use events_core::Broker as _;
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::problem::{Problem, Refusals};
use super::service::Service;

/// Who asks wants an answer before he gives up himself.
const SOON: Duration = Duration::from_secs(2);

/// The process lives.
#[derive(Serialize, ToSchema)]
pub(super) struct Alive {
    /// `alive`
    status: &'static str,
}

/// The service can do its work.
#[derive(Serialize, ToSchema)]
pub(super) struct Ready {
    /// `ready`
    status: &'static str,
    /// `inside` this process, where it runs, or `apart`
    worker: &'static str,
    /// What an operator should look at, in words. None of it keeps requests from being answered.
    warnings: Vec<String>,
}

/// Whether the process lives
///
/// It does not look further: to start it again helps nobody when the database is gone.
#[utoipa::path(get, path = "/health/live", tag = "health", responses((status = OK, body = Alive)))]
pub(super) async fn live() -> Json<Alive> {
    Json(Alive { status: "alive" })
}

/// Whether requests can be answered and events are worked on
#[utoipa::path(get, path = "/health/ready", tag = "health",
    responses((status = OK, body = Ready), Refusals))]
pub(super) async fn ready(State(service): State<Service>) -> Result<Json<Ready>, Problem> {
    let worker = match &service.worker {
        None => "apart",
        Some(standing) if standing.is_running() => "inside",
        Some(_) => return Err(Problem::unavailable("the worker has ended; the log tells why")),
    };
    // Whoever has a file open goes on with it after it was removed, and all is lost in the end.
    if service.database.is_missing() {
        return Err(Problem::unavailable("the file of the database is gone"));
    }
    match timeout(SOON, look(&service)).await {
        Ok(warnings) => Ok(Json(Ready { status: "ready", worker, warnings: warnings? })),
        Err(_) => Err(Problem::unavailable("the database does not answer")),
    }
}

/// Asks the database for something, and the queue how it is doing.
async fn look(service: &Service) -> Result<Vec<String>, Problem> {
    let mut connection = service.connection().await?;
    sqlx::query("SELECT count(*) FROM users WHERE id = ''").execute(&mut *connection).await?;
    drop(connection);
    let health = service.queue.health().await?;
    Ok(health.concerns().iter().map(ToString::to_string).collect())
}
