//! Who may do what: bearer tokens, each with its scopes.

use std::fmt;
use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::problem::Problem;
use super::service::Service;

/// What a token may be good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// To read users, systems, connections, and how they belong together.
    OrganisationRead,
    /// To change them.
    OrganisationWrite,
    /// To read monitors, their stewards, resources and statistics, and how the sweeps went.
    MonitorRead,
    /// To change monitors, and to report what they have completed.
    MonitorUpdate,
    /// To change who is a steward of a monitor, by hand or by a sweep.
    MonitorStewardUpdate,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::OrganisationRead,
        Self::OrganisationWrite,
        Self::MonitorRead,
        Self::MonitorUpdate,
        Self::MonitorStewardUpdate,
    ];

    /// As it is configured and documented.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OrganisationRead => "organisation:read",
            Self::OrganisationWrite => "organisation:write",
            Self::MonitorRead => "monitor:read",
            Self::MonitorUpdate => "monitor:update",
            Self::MonitorStewardUpdate => "monitor_steward:update",
        }
    }

    /// The scope of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

/// Several scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// None.
    pub const NONE: Self = Self(0);
    /// Whatever there is.
    pub const ALL: Self = Self(u8::MAX);

    /// These and one more.
    #[must_use]
    pub const fn with(self, scope: Scope) -> Self {
        Self(self.0 | 1 << scope as u8)
    }

    /// Whether it is one of these.
    #[must_use]
    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & 1 << scope as u8 != 0
    }
}

/// The tokens that are good for something.
///
/// Only their hashes are kept. They are all of one length, so that comparing two takes the same time
/// wherever they differ, and however long a token is; and a dump of the memory shows no token.
#[derive(Clone, Default)]
pub struct Tokens(Vec<(Hash, Scopes)>);

type Hash = [u8; 32];

impl Tokens {
    /// Lets a token be good for these scopes, too.
    pub fn add(&mut self, token: &str, scopes: Scopes) {
        self.0.push((hash(token), scopes));
    }

    /// What a token is good for; `None` if it is none of these.
    ///
    /// It is compared with all of them, also when one was found: how long that takes does not tell
    /// which it was, nor how much of it was right.
    #[must_use]
    pub fn scopes(&self, token: &str) -> Option<Scopes> {
        let presented = hash(token);
        let (mut known, mut scopes) = (Choice::from(0), 0);
        for (hash, granted) in &self.0 {
            let same = hash.ct_eq(&presented);
            scopes |= u8::conditional_select(&0, &granted.0, same);
            known |= same;
        }
        bool::from(known).then_some(Scopes(scopes))
    }
}

fn hash(token: &str) -> Hash {
    Sha256::digest(token.as_bytes()).into()
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scopes: Vec<_> = self.0.iter().map(|(_, scopes)| scopes).collect();
        f.debug_tuple("Tokens").field(&scopes).finish()
    }
}

/// That the request's token has a scope. A handler takes it first: without it nothing else of the
/// request is read.
pub(crate) struct Granted<S>(PhantomData<S>);

/// A [`Scope`], as a type.
pub(crate) trait Needs {
    const SCOPE: Scope;
}

macro_rules! scope_types {
    ($($name:ident),+) => {$(
        pub(crate) struct $name;

        impl Needs for $name {
            const SCOPE: Scope = Scope::$name;
        }
    )+};
}

scope_types!(OrganisationRead, OrganisationWrite, MonitorRead, MonitorUpdate, MonitorStewardUpdate);

impl<S: Needs> FromRequestParts<Service> for Granted<S> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, Problem> {
        let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header.and_then(bearer).ok_or_else(Problem::no_token)?;
        let scopes = service.tokens.scopes(token).ok_or_else(Problem::wrong_token)?;
        match scopes.contains(S::SCOPE) {
            true => Ok(Self(PhantomData)),
            false => Err(Problem::missing_scope(S::SCOPE)),
        }
    }
}

/// The token of an `Authorization` header; the scheme's case does not matter.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_its_own_scopes_and_no_others() {
        let mut tokens = Tokens::default();
        tokens.add("the first of the tokens", Scopes::NONE.with(Scope::MonitorRead));
        tokens.add("the second of the tokens", Scopes::ALL);
        let first = tokens.scopes("the first of the tokens").unwrap();
        for scope in Scope::ALL {
            assert_eq!(first.contains(scope), scope == Scope::MonitorRead, "{scope:?}");
            assert!(tokens.scopes("the second of the tokens").unwrap().contains(scope));
        }
        for wrong in ["", "the", "the first of the token", "the first of the tokens "] {
            assert_eq!(tokens.scopes(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_token_that_stands_twice_is_good_for_both() {
        let mut tokens = Tokens::default();
        tokens.add("one token, two entries", Scopes::NONE.with(Scope::MonitorRead));
        tokens.add("one token, two entries", Scopes::NONE.with(Scope::MonitorUpdate));
        let scopes = tokens.scopes("one token, two entries").unwrap();
        assert!(scopes.contains(Scope::MonitorRead) && scopes.contains(Scope::MonitorUpdate));
        assert!(!scopes.contains(Scope::OrganisationRead));
    }

    #[test]
    fn tokens_are_not_shown() {
        let mut tokens = Tokens::default();
        tokens.add("a secret of mine", Scopes::ALL);
        assert!(!format!("{tokens:?}").contains("secret"));
    }

    #[test]
    fn the_scheme_is_bearer_in_any_case() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc"), Some("abc"));
        assert_eq!(bearer("Basic abc"), None);
        assert_eq!(bearer("abc"), None);
    }
}
