//! Which address leads where.

use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router, middleware};
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::openapi::Base;
use super::problem::Problem;
use super::service::Service;
use super::{health, request, routes};

/// The largest body, in bytes: the longest list of the longest names has room in it.
const LARGEST_BODY: usize = 1 << 20;

/// The service's addresses.
pub(super) fn router(service: Service) -> Router {
    finished(addresses()).with_state(service)
}

/// Those that the document describes, and its own.
fn addresses() -> Router<Service> {
    let (router, document) = documented().split_for_parts();
    router.route("/openapi.json", get(async move || Json(document)))
}

/// What the document describes: all addresses but its own.
fn documented() -> OpenApiRouter<Service> {
    let bounded = OpenApiRouter::with_openapi(Base::openapi())
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .merge(routes::organisation::router())
        .merge(routes::users::router())
        .merge(routes::systems::router())
        .merge(routes::connections::router())
        .merge(routes::monitors::router())
        .merge(routes::monitor_stewards::router())
        .merge(routes::operations::router())
        .merge(routes::reconcilers::router())
        .layer(middleware::from_fn(request::within_time));
    // A sweep takes as long as it takes.
    bounded.merge(routes::reconcile::router())
}

/// With what holds for every address.
fn finished(router: Router<Service>) -> Router<Service> {
    router
        .fallback(async || Problem::of(StatusCode::NOT_FOUND).detail("nothing has this address"))
        .method_not_allowed_fallback(async || {
            Problem::of(StatusCode::METHOD_NOT_ALLOWED).detail("this address takes other methods")
        })
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(middleware::from_fn(request::around))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_document_has_every_address_of_the_router_and_no_other() {
        // axum lists the addresses of a router nowhere else. Should it cease to, there are none here.
        let shown = format!("{:?}", addresses());
        let of_axum = ["/", "/{*__private__axum_fallback}"]; // the fallback, which is for the rest
        let quoted = shown.split('"').filter(|quoted| quoted.starts_with('/'));
        let routed: BTreeSet<&str> = quoted.filter(|address| !of_axum.contains(address)).collect();
        let document = documented().into_openapi();
        let documented = document.paths.paths.keys().map(String::as_str);
        assert_eq!(routed, documented.chain(["/openapi.json"]).collect());
    }
}
