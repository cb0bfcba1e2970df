//! Lists, a page at a time.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::problem::Problem;

/// Items of a page, unless asked for.
const LIMIT: i64 = 100;

/// Items of a page, at most.
const MOST: i64 = 500;

/// Which page of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// The key after which the page begins: `next` of the page before it.
    after: Option<String>,
    /// How many items: 1 to 500, or 100 if it is not given.
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: Option<i64>,
}

/// Which page of a list, checked.
pub(super) struct PageOf {
    pub(super) after: String,
    limit: i64,
}

impl PageOf {
    /// One item more than the page has tells whether there is a next.
    pub(super) fn fetch(&self) -> i64 {
        self.limit + 1
    }

    /// The page with these items; `key` is what they are sorted by.
    pub(super) fn page<T>(&self, mut items: Vec<T>, key: impl Fn(&T) -> &str) -> Page<T> {
        let limit = usize::try_from(self.limit).unwrap_or_default();
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|last| key(last).to_owned());
        Page { items, next }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PageOf {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(asked) = Query::<Asked>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Problem::of(rejection.status()).detail(rejection.body_text()))?;
        match asked.limit.unwrap_or(LIMIT) {
            limit @ 1..=MOST => Ok(Self { after: asked.after.unwrap_or_default(), limit }),
            limit => Err(Problem::unprocessable(format!("`limit` is {limit}; give 1 to {MOST}"))),
        }
    }
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page<T> {
    /// The items, sorted by their keys.
    pub(super) items: Vec<T>,
    /// What to give as `after` for the next page; null on the last.
    pub(super) next: Option<String>,
}
