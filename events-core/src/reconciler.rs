//! Reconcilers: functions that reach the right end state even if every event was lost.

use std::any::TypeId;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::BoxError;
use crate::cadence::Cadence;
use crate::context::{Cancellation, CancellationSource};
use crate::extract::{FromStates, States};
use crate::subscriber::{Failure, InvokeError, Need, NeedKind};

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
    /// When it runs by itself; `None` runs on demand only, unless the settings say otherwise.
    pub cadence: Option<Cadence>,
    /// What the function takes besides the scope.
    pub needs: &'static [Need],
    /// The function, behind one signature.
    pub handler: ReconcilerHandler,
}

impl fmt::Debug for Reconciler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconciler")
            .field("name", &self.name)
            .field("cadence", &self.cadence)
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

impl Report {
    /// How many items or rows were added or removed.
    #[must_use]
    pub fn changed(&self) -> u64 {
        self.added + self.removed
    }
}

/// What a reconciler may take beside its scope and states: to say how far it is, and to hear that
/// it is to stop.
///
/// ```
/// use events_core::prelude::*;
/// use events_core::reconciler::ReconcilerContext;
///
/// #[reconciles(every = "15m", deadline = "5m")]
/// async fn sweep(scope: Scope, context: ReconcilerContext) -> Result<Report, Failure> {
///     let mut report = Report::default();
///     for item in ["crm", "erp"].into_iter().filter(|item| scope.contains(item)) {
///         if context.cancellation().is_cancelled() {
///             return Err(Failure::retry("stopped: the worker shuts down")); // the next run goes on
///         }
///         // … look at the item …
///         # let _ = item;
///         report.checked += 1;
///         context.progress(&report);
///     }
///     Ok(report)
/// }
/// ```
#[derive(Debug, Clone)]
pub struct ReconcilerContext {
    cancellation: Cancellation,
    told: Arc<Mutex<Instant>>,
}

/// How often progress is logged at the most.
const TELL_EVERY: Duration = Duration::from_secs(10);

impl ReconcilerContext {
    /// The context of one run.
    #[must_use]
    pub fn new(cancellation: Cancellation) -> Self {
        Self { cancellation, told: Arc::new(Mutex::new(Instant::now())) }
    }

    /// Asks the reconciler to stop: the worker shuts down. After its grace period the run is
    /// stopped where it awaits.
    #[must_use]
    pub fn cancellation(&self) -> &Cancellation {
        &self.cancellation
    }

    /// Tells how far the run is; logged every ten seconds at the most.
    pub fn progress(&self, report: &Report) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() >= TELL_EVERY {
            *told = Instant::now();
            tracing::info!(
                checked = report.checked,
                changed = report.changed(),
                failed = report.failed.len(),
                "reconciling"
            );
        }
    }
}

impl FromStates for ReconcilerContext {
    const NEED: Need = Need {
        kind: NeedKind::State,
        id: TypeId::of::<Self>(),
        rust_path: std::any::type_name::<Self>,
    };

    fn from_states(states: &States) -> Result<Self, InvokeError> {
        // Whoever calls a reconciler without one never asks it to stop.
        let never = || Self::new(CancellationSource::new().token());
        Ok(states.get::<Self>().cloned().unwrap_or_else(never))
    }
}

impl Reconciler {
    /// The states that it takes and that are not among these, by their paths.
    #[must_use]
    pub fn missing(&self, states: &States) -> Vec<&'static str> {
        let supplied = TypeId::of::<ReconcilerContext>();
        let needs = self.needs.iter();
        let missing = needs.filter(|need| need.id != supplied && !states.contains(need.id));
        missing.map(|need| (need.rust_path)()).collect()
    }
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
