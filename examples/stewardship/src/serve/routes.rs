//! The handlers of requests, a file for each kind of thing.
//!
//! Each takes that its token has the scope first, then what the request says, and leaves the rest to
//! the repositories.

pub(super) mod connections;
pub(super) mod monitor_stewards;
pub(super) mod monitors;
pub(super) mod operations;
pub(super) mod organisation;
pub(super) mod reconcile;
pub(super) mod reconcilers;
pub(super) mod systems;
pub(super) mod users;

use axum::Json;
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What something new is to be called.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, min_length = 1, max_length = 255)]
struct Name(String);

/// In characters. What is longer is no name, and not every database takes it as a key.
const LONGEST_NAME: usize = 255;

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.chars().count() {
            0 => Err("a name has at least one character".into()),
            1..=LONGEST_NAME if text.chars().any(char::is_control) => {
                Err("a name has no control characters".into())
            }
            1..=LONGEST_NAME => Ok(Self(text)),
            length => Err(format!("a name has at most {LONGEST_NAME} characters, not {length}")),
        }
    }
}

/// Some of many, in a body.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Vec<T>", bound = "T: Deserialize<'de>")]
struct List<T>(Vec<T>);

/// What is longer keeps one transaction open for long, and others from theirs.
const LONGEST_LIST: usize = 1_000;

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> TryFrom<Vec<T>> for List<T> {
    type Error = String;

    fn try_from(items: Vec<T>) -> Result<Self, String> {
        match items.len() {
            0..=LONGEST_LIST => Ok(Self(items)),
            length => Err(format!("a list has at most {LONGEST_LIST} items, not {length}")),
        }
    }
}

/// Something that was created, and where it is now.
struct Created<T>(String, T);

impl<T: Serialize> Created<T> {
    /// Below the address of a collection.
    fn below(collection: &str, name: &str, thing: T) -> Self {
        Self(format!("{collection}/{}", utf8_percent_encode(name, ESCAPED)), thing)
    }
}

/// All that is not unreserved in a URI.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        let Self(location, thing) = self;
        let mut response = (StatusCode::CREATED, Json(thing)).into_response();
        let location = HeaderValue::try_from(location).expect("what is no letter was escaped");
        response.headers_mut().insert(LOCATION, location);
        response
    }
}
