//! Whether the process lives, and whether it can do its work.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use events_core::Broker as _;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};
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
    let soon = Instant::now() + SOON;
    let answered = timeout_at(soon, look(&service)).await;
    answered.map_err(|_| Problem::unavailable("the database does not answer"))??;
    Ok(Json(Ready { status: "ready", worker, warnings: concerns(&service, soon).await }))
}

/// Asks the database for something.
async fn look(service: &Service) -> Result<(), Problem> {
    let mut connection = service.connection().await?;
    sqlx::query("SELECT count(*) FROM users WHERE id = ''").execute(&mut *connection).await?;
    Ok(())
}

/// Asks the queue how it is doing. That takes longer the more there is in it, and requests are
/// answered meanwhile: that it cannot tell is one more thing to look at.
async fn concerns(service: &Service, soon: Instant) -> Vec<String> {
    match timeout_at(soon, service.queue.health()).await {
        Ok(Ok(health)) => health.concerns().iter().map(ToString::to_string).collect(),
        Ok(Err(error)) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the queue cannot tell how it is doing"
            );
            vec!["the queue cannot tell how it is doing; the log tells why".to_owned()]
        }
        Err(_) => vec!["the queue did not tell in time how it is doing".to_owned()],
    }
}
