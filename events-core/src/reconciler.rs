//! Reconcilers: functions that reach the right end state even if every event was lost.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::BoxError;
use crate::extract::States;
use crate::subscriber::{Failure, InvokeError, Need};

/// A function registered by `#[reconciles]`. A `static` of the program.
pub struct Reconciler {
    /// Its name: the function's path with dots.
    pub name: &'static str,
    /// The function's path, `crate::module::function`.
    pub function: &'static str,
    /// Where it is declared.
    pub file: &'static str,
    /// The line of its declaration.
    pub line: u32,
    /// How often it runs, once per cluster; `None` runs on demand only.
    pub every: Option<Duration>,
    /// What the function takes besides the scope.
    pub needs: &'static [Need],
    /// The function, behind one signature.
    pub handler: ReconcilerHandler,
}

impl fmt::Debug for Reconciler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconciler")
            .field("name", &self.name)
            .field("every", &self.every)
            .finish_non_exhaustive()
    }
}

/// A reconciler's function, behind one signature.
pub type ReconcilerHandler =
    for<'a> fn(Scope, &'a States) -> Result<ReconcilerFuture<'a>, InvokeError>;

/// What a reconciler's future resolves to.
pub type ReconcilerFuture<'a> = Pin<Box<dyn Future<Output = Result<Report, BoxError>> + Send + 'a>>;

/// What a reconciler is to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// The items with these keys; what a key is, the reconciler says.
    Keys(Vec<String>),
}

impl Scope {
    /// Whether the item with this key is in the scope.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        match self {
            Self::All => true,
            Self::Keys(keys) => keys.iter().any(|wanted| wanted == key),
        }
    }
}

/// What a reconciler found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Items looked at.
    pub checked: u64,
    /// Items or rows that were missing and were added.
    pub added: u64,
    /// Items or rows that were wrong and were removed.
    pub removed: u64,
    /// Items that could not be reconciled, with the reason; the others were.
    pub failed: Vec<(String, String)>,
}

/// A reconciler that did not run, or failed as a whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReconcileError {
    /// No reconciler of this program has this name.
    #[error(
        "no reconciler is called `{name}`, or several are in short; this program has {}",
        if known.is_empty() { "none: is its crate linked?".to_owned() } else { known.join(", ") }
    )]
    Unknown {
        /// What was asked for.
        name: String,
        /// All names.
        known: Vec<&'static str>,
    },
    /// The reconciler takes a state that was not given.
    #[error("reconciler `{name}` cannot be called")]
    NotCallable {
        /// Its name.
        name: &'static str,
        /// What is missing.
        source: InvokeError,
    },
    /// The reconciler failed.
    #[error("reconciler `{name}` failed")]
    Failed {
        /// Its name.
        name: &'static str,
        /// What it returned.
        source: BoxError,
    },
}

/// What a reconciler may return: `Result<Report, E>` with any error, also a boxed one, or
/// [`Failure`].
#[diagnostic::on_unimplemented(
    message = "a reconciler can't return `{Self}`",
    label = "return `Result<Report, E>` with any error `E`"
)]
pub trait ReconcilerResult {
    #[doc(hidden)]
    fn into_reconciler_result(self) -> Result<Report, BoxError>;
}

impl ReconcilerResult for Result<Report, Failure> {
    fn into_reconciler_result(self) -> Result<Report, BoxError> {
        self.map_err(|failure| match failure {
            Failure::Retry(error) | Failure::Discard(error) => error,
            Failure::Snooze(pause) => {
                format!("asked to run again in {}", humantime::format_duration(pause)).into()
            }
        })
    }
}

#[diagnostic::do_not_recommend]
impl<E: Into<BoxError>> ReconcilerResult for Result<Report, E> {
    fn into_reconciler_result(self) -> Result<Report, BoxError> {
        self.map_err(Into::into)
    }
}

/// A function marked `#[reconciles]`, as a type; see
/// [`SubscriberFunction`](crate::subscriber::SubscriberFunction) for how.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a reconciler",
    note = "mark the function with `#[reconciles]` or `#[reconciles(every = \"15m\")]`"
)]
pub trait ReconcilerFunction {
    #[doc(hidden)]
    const RECONCILER: &'static Reconciler;
}
