//! The OpenAPI document, made from the routes themselves.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, OpenApi as Document};
use utoipa::{Modify, OpenApi};

use super::problem::ProblemDetails;

/// What the document has besides the routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "stewardship",
        description = "Monitors inherit data stewards from the systems they watch. A change is \
                       published when it commits, and what follows from it is there soon after.\n\n\
                       Every answer has the id of its request in the header `x-request-id`; one \
                       that comes with the request is kept.",
    ),
    components(schemas(ProblemDetails<'_>)),
    modifiers(&Bearer)
)]
pub(super) struct Base;

/// How a request says who it comes from.
struct Bearer;

/// The name of the scheme in the document.
pub(super) const TOKEN: &str = "token";

impl Modify for Bearer {
    fn modify(&self, document: &mut Document) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A token that the service is configured with."))
            .build();
        let components = document.components.get_or_insert_with(Components::new);
        components.add_security_scheme(TOKEN, SecurityScheme::Http(scheme));
    }
}
