//! What is answered instead of what was asked for: problem details, as RFC 9457 has them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use events_core::BrokerError;
use events_core::reconciler::ReconcileError;
use events_sqlx::QueueError;
use serde::Serialize;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

use super::authorization::Scope;
use crate::database;
use crate::repositories::{StoreError, Thing};
use crate::sweep::SweepError;

/// A problem, as it is written.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProblemDetails<'p> {
    /// What kind of problem: `about:blank` if the status says it all.
    #[serde(rename = "type")]
    #[schema(example = "urn:stewardship:unknown")]
    kind: Cow<'p, str>,
    /// The kind, in words.
    title: &'p str,
    /// The status of the answer.
    status: u16,
    /// What it is about this time, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'p str>,
    /// The id of the request, to look for in the log.
    instance: &'p str,
    /// The scope that the token lacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'static str>,
}

/// Why a request is not answered with what it asked for.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    status: StatusCode,
    /// The last part of its type; none if the status says it all.
    name: Option<&'static str>,
    title: &'static str,
    detail: Option<Box<str>>,
    scope: Option<Scope>,
    header: Option<(HeaderName, &'static str)>,
    /// What is said to be unknown.
    unknown: Option<Thing>,
    /// For the log only.
    pub(super) cause: Option<Box<str>>,
}

impl Problem {
    /// One that its status describes.
    pub(crate) fn of(status: StatusCode) -> Self {
        Self {
            status,
            name: None,
            title: status.canonical_reason().unwrap_or("Problem"),
            detail: None,
            scope: None,
            header: None,
            unknown: None,
            cause: None,
        }
    }

    fn named(status: StatusCode, name: &'static str, title: &'static str) -> Self {
        Self { name: Some(name), title, ..Self::of(status) }
    }

    pub(crate) fn detail(self, detail: impl Into<Box<str>>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    fn cause(self, cause: impl Into<Box<str>>) -> Self {
        Self { cause: Some(cause.into()), ..self }
    }

    fn header(self, name: HeaderName, value: &'static str) -> Self {
        Self { header: Some((name, value)), ..self }
    }

    pub(crate) fn no_token() -> Self {
        Self::named(StatusCode::UNAUTHORIZED, "no-token", "A token is needed")
            .detail("send the header `Authorization: Bearer …` with a token that is configured")
            .header(WWW_AUTHENTICATE, "Bearer")
    }

    pub(crate) fn wrong_token() -> Self {
        Self::named(StatusCode::UNAUTHORIZED, "wrong-token", "The token is not known")
            .detail("nobody has configured this token")
            .header(WWW_AUTHENTICATE, r#"Bearer error="invalid_token""#)
    }

    pub(crate) fn missing_scope(scope: Scope) -> Self {
        let name = scope.name();
        Self {
            scope: Some(scope),
            ..Self::named(StatusCode::FORBIDDEN, "missing-scope", "The token is not good for this")
                .detail(format!("it needs the scope `{name}`"))
                .header(WWW_AUTHENTICATE, r#"Bearer error="insufficient_scope""#)
        }
    }

    pub(crate) fn unprocessable(detail: impl Into<Box<str>>) -> Self {
        Self::named(StatusCode::UNPROCESSABLE_ENTITY, "refused", "The request cannot be done")
            .detail(detail)
    }

    /// Something that is needed is not there now, and may be later.
    pub(crate) fn unavailable(detail: &'static str) -> Self {
        Self::named(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not available now")
            .detail(detail)
            .header(RETRY_AFTER, "1")
    }

    /// Neither that a change was made nor that it was not is known: who repeats it may make it twice,
    /// and so nobody is told to.
    fn outcome_unknown() -> Self {
        Self::named(
            StatusCode::INTERNAL_SERVER_ERROR,
            "outcome-unknown",
            "It is not known whether the change was made",
        )
        .detail("the commit was not answered; look whether it was made before you repeat it")
    }

    /// A commit that failed.
    pub(super) fn of_commit(error: &QueueError) -> Self {
        match error {
            QueueError::Database { source, .. }
                if !error.is_busy() && database::leaves_outcome_unknown(source) =>
            {
                Self::outcome_unknown().cause(told(error))
            }
            QueueError::NoAnswer { .. } => Self::outcome_unknown().cause(told(error)),
            refused => Self::of_database(refused, is_unavailable(refused)),
        }
    }

    /// A request was given up that may change something.
    pub(super) fn took_too_long() -> Self {
        Self::named(StatusCode::SERVICE_UNAVAILABLE, "took-too-long", "It took too long")
            .detail("it took too long; look whether it was done before you repeat it")
    }

    /// Something that only the log may tell.
    pub(crate) fn internal(cause: impl Into<Box<str>>) -> Self {
        Self::of(StatusCode::INTERNAL_SERVER_ERROR)
            .detail("the log of the service tells more, under the id of this request")
            .cause(cause)
    }

    fn of_database(error: &(dyn Error + 'static), unavailable: bool) -> Self {
        match unavailable {
            true => {
                Self::unavailable("the database cannot be used now; try again").cause(told(error))
            }
            false => Self::internal(told(error)),
        }
    }

    /// If this says that such a thing is unknown, the body named it: what the address names is there.
    pub(crate) fn given_in_body(self, thing: Thing) -> Self {
        match (self.unknown, self.detail) {
            (Some(unknown), Some(detail)) if unknown == thing => Self::unprocessable(detail),
            (_, detail) => Self { detail, ..self },
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The answer to this request.
    pub(super) fn answer(&self, request_id: &str) -> Response {
        let details = ProblemDetails {
            kind: match self.name {
                Some(name) => format!("urn:stewardship:{name}").into(),
                None => "about:blank".into(),
            },
            title: self.title,
            status: self.status.as_u16(),
            detail: self.detail.as_deref(),
            instance: request_id,
            scope: self.scope.map(Scope::name),
        };
        let body = serde_json::to_vec(&details).expect("texts and numbers are JSON");
        let content_type = [(CONTENT_TYPE, "application/problem+json")];
        let mut response = (self.status, content_type, body).into_response();
        if let Some((name, value)) = &self.header {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// The middleware writes the answer: only it knows the id of the request.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let detail = error.to_string();
        match &error {
            StoreError::Unknown { what, .. } => Self {
                unknown: Some(*what),
                ..Self::named(StatusCode::NOT_FOUND, "unknown", "There is no such thing")
                    .detail(detail)
            },
            StoreError::Exists { .. } => {
                Self::named(StatusCode::CONFLICT, "exists", "It exists already").detail(detail)
            }
            StoreError::Publish(_) | StoreError::Value(_) => Self::unprocessable(detail),
            StoreError::Database(source) => {
                let later = error.is_conflict() || database::is_unavailable(source);
                Self::of_database(&error, later)
            }
        }
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        StoreError::from(error).into()
    }
}

impl From<QueueError> for Problem {
    fn from(error: QueueError) -> Self {
        Self::of_database(&error, is_unavailable(&error))
    }
}

impl From<BrokerError> for Problem {
    fn from(error: BrokerError) -> Self {
        Self::of_database(&error, unavailable_below(&error))
    }
}

impl From<ReconcileError> for Problem {
    fn from(error: ReconcileError) -> Self {
        let stopped = |cause: &(dyn Error + 'static)| {
            matches!(cause.downcast_ref(), Some(SweepError::Stopped { .. }))
        };
        match causes(&error).any(stopped) {
            true => Self::unavailable(
                "the service stops, and the sweep with it; what it has mended stays; start it again",
            ),
            false => Self::of_database(&error, unavailable_below(&error)),
        }
    }
}

fn is_unavailable(error: &QueueError) -> bool {
    match error {
        QueueError::NoAnswer { .. } | QueueError::WriterBusy { .. } => true,
        QueueError::Database { source, .. } => {
            error.is_busy() || error.is_disk_full() || database::is_unavailable(source)
        }
        _ => false,
    }
}

/// Whether one of the causes is a database that cannot be used now.
fn unavailable_below(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| {
        let of_queue = cause.downcast_ref::<QueueError>().map(is_unavailable);
        let of_sweep = || match cause.downcast_ref::<SweepError>()? {
            SweepError::Queue(error) => Some(is_unavailable(error)),
            SweepError::Database(error) => Some(database::is_unavailable(error)),
            SweepError::Stopped { .. } => None,
        };
        let of_sql = || cause.downcast_ref::<sqlx::Error>().map(database::is_unavailable);
        of_queue.or_else(of_sweep).or_else(of_sql).unwrap_or(false)
    })
}

/// The error and its causes.
fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// The error and its causes, in a line.
fn told(error: &(dyn Error + 'static)) -> String {
    causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// What any request may be answered with instead, for the document.
pub(super) struct Refusals;

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        let schema = Ref::from_schema_name(ProblemDetails::name());
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let problem = ResponseBuilder::new()
            .description("What is wrong, as RFC 9457 has it. The status tells its kind.")
            .content("application/problem+json", content)
            .build();
        BTreeMap::from([("default".to_owned(), problem.into())])
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use super::*;

    fn of_commit(source: sqlx::Error) -> Problem {
        Problem::of_commit(&QueueError::Database { step: Some("commit"), remedy: None, source })
    }

    #[test]
    fn nobody_is_told_to_repeat_a_commit_that_was_not_answered() {
        let broken = || sqlx::Error::Io(io::ErrorKind::ConnectionReset.into());
        let problem = of_commit(broken());
        assert_eq!(problem.name, Some("outcome-unknown"));
        let answer = problem.answer("id");
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!answer.headers().contains_key(RETRY_AFTER), "{answer:?}");
        // Elsewhere nothing can have been committed.
        let answer = Problem::from(broken()).answer("id");
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.headers().contains_key(RETRY_AFTER), "{answer:?}");
    }

    #[test]
    fn a_commit_that_was_refused_was_not_made() {
        let problem = Problem::of_commit(&QueueError::TransactionLost);
        assert_eq!((problem.status, problem.name), (StatusCode::INTERNAL_SERVER_ERROR, None));
        let busy = Problem::of_commit(&QueueError::WriterBusy { waited: Duration::ZERO });
        assert_eq!(busy.name, Some("unavailable"));
    }

    #[test]
    fn a_change_that_takes_too_long_is_not_to_be_repeated_blindly() {
        let answer = Problem::took_too_long().answer("id");
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(!answer.headers().contains_key(RETRY_AFTER), "{answer:?}");
    }
}
