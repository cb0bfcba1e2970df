//! What is done around every request, whatever it asks for: its id, its log lines, and that all that
//! goes wrong is answered as a problem.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header::ALLOW;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use tracing::Instrument as _;
use uuid::Uuid;

use super::problem::Problem;

/// The header of the id.
pub(crate) const REQUEST_ID: &str = "x-request-id";

/// Longer ids are none: they would fill the log.
const LONGEST_ID: usize = 128;

/// Texts of rejections are longer only if a client wants them to be.
const LONGEST_DETAIL: usize = 4096;

/// Nobody waits for longer than that; a database that answers needs a small part of it.
const LONGEST_REQUEST: Duration = Duration::from_secs(30);

/// Runs a request in a span with its id, and answers with the id.
///
/// The framework's log lines of what the request publishes are written in this span, and have the
/// ids of the events: so the two are joined.
pub(super) async fn around(request: Request, next: Next) -> Response {
    let id = id(request.headers());
    let span = tracing::info_span!(
        "request",
        request_id = %id,
        method = %request.method(),
        path = request.uri().path(),
    );
    let probe = request.uri().path().starts_with("/health/");
    let mut response = answered(request, next, &id, probe).instrument(span).await;
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// The id that the request came with, if it can be used, or a new one. It has no colon: a problem's
/// `instance` would have a scheme then.
fn id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    match given {
        Some(id) if (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(harmless) => id.into(),
        _ => Uuid::now_v7().to_string(),
    }
}

async fn answered(request: Request, next: Next, id: &str, probe: bool) -> Response {
    let started = Instant::now();
    let response = match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => replaced(&Problem::internal(said(&*panic)), id),
    };
    let response = match response.extensions().get::<Problem>() {
        Some(problem) => replaced(problem, id),
        None => with_problem(response, id).await,
    };
    log(response.status(), started.elapsed(), probe);
    response
}

/// Gives up on a request that takes too long. What it has changed is rolled back, unless the database
/// was committing it: then it may be there, and who only reads may try again and nobody else.
pub(super) async fn within_time(request: Request, next: Next) -> Response {
    let reads = request.method().is_safe();
    match tokio::time::timeout(LONGEST_REQUEST, next.run(request)).await {
        Ok(response) => response,
        Err(_) if reads => Problem::unavailable("it took too long; try again").into_response(),
        Err(_) => Problem::took_too_long().into_response(),
    }
}

/// Answers of axum itself, such as that a body is no JSON, are texts: they become problems, too.
async fn with_problem(response: Response, id: &str) -> Response {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (parts, body) = response.into_parts();
    let problem = match told(status, body).await {
        Some(detail) => Problem::of(status).detail(detail),
        None => Problem::of(status),
    };
    let mut response = replaced(&problem, id);
    if let Some(allowed) = parts.headers.get(ALLOW) {
        response.headers_mut().insert(ALLOW, allowed.clone());
    }
    response
}

/// What a rejection says to the client.
async fn told(status: StatusCode, body: Body) -> Option<String> {
    if status.is_server_error() {
        return None; // that is not for clients
    }
    let text = to_bytes(body, LONGEST_DETAIL).await.ok()?;
    String::from_utf8(text.to_vec()).ok().filter(|text| !text.is_empty())
}

fn replaced(problem: &Problem, id: &str) -> Response {
    if let Some(cause) = &problem.cause {
        match problem.status() {
            StatusCode::INTERNAL_SERVER_ERROR => tracing::error!(cause, "the request failed"),
            _ => tracing::warn!(cause, "the request could not be served now"),
        }
    }
    problem.answer(id)
}

fn log(status: StatusCode, duration: Duration, probe: bool) {
    let status = status.as_u16();
    match probe {
        true => tracing::debug!(status, ?duration, "answered"),
        false => tracing::info!(status, ?duration, "answered"),
    }
}

/// What a panic said. The hook has printed where it was.
fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panicked: {}", text.unwrap_or_else(|| "without a text".into()))
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use axum::{Router, middleware};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_handler_that_panics_is_answered_for() {
        let panics = get(async || -> StatusCode { panic!("a secret") });
        let router = Router::new().route("/", panics).layer(middleware::from_fn(around));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(axum::serve(listener, router).into_future());
        let agent: ureq::Agent =
            ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let asked = move || agent.get(format!("http://{address}/")).call().unwrap();
        let mut answer = tokio::task::spawn_blocking(asked).await.unwrap();
        assert_eq!(answer.status(), 500);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        let body = answer.body_mut().read_to_string().unwrap();
        assert!(!body.contains("secret"), "{body}");
    }
}
