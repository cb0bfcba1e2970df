//! Coverage as a test: publishers and subscribers match, or the test says why not.

use std::fmt;

use events_core::Event;
use events_core::coverage::{Finding, Severity, findings};
use events_core::registry::Registry;

/// Checks that the publishers and subscribers of `registry` match.
///
/// ```standalone_crate
/// # use events_core::prelude::*;
/// # use events_core::Registry;
/// # use events_testing::coverage;
/// # #[derive(Event)] struct AuditExported { file: String }
/// coverage(Registry::linked()?)
///     .exempt::<AuditExported>("read by the auditors' own program")
///     .assert();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn coverage(registry: &Registry) -> Coverage<'_> {
    Coverage { registry, exemptions: Vec::new(), deny_unchecked: false, require_reconcilers: false }
}

/// A coverage check. See [`coverage()`].
#[must_use = "a check checks nothing until `assert` or `check`"]
#[derive(Debug)]
pub struct Coverage<'r> {
    registry: &'r Registry,
    exemptions: Vec<Exemption>,
    deny_unchecked: bool,
    require_reconcilers: bool,
}

#[derive(Debug)]
struct Exemption {
    event: String,
    reason: String,
    needed: bool,
}

impl Coverage<'_> {
    /// Accepts every finding about the event `E`, for a reason.
    pub fn exempt<E: Event>(self, reason: &str) -> Self {
        self.exempt_named(E::NAME, reason)
    }

    /// Accepts every finding about the event of this name, for a reason.
    pub fn exempt_named(mut self, event: &str, reason: &str) -> Self {
        self.exemptions.push(Exemption {
            event: event.to_owned(),
            reason: reason.to_owned(),
            needed: false,
        });
        self
    }

    /// Fails on publishes through `unchecked` that ran in this process.
    pub fn deny_unchecked(mut self) -> Self {
        self.deny_unchecked = true;
        self
    }

    /// Fails on subscribers that say neither `reconciled_by` nor `freshness_only`.
    pub fn require_reconcilers(mut self) -> Self {
        self.require_reconcilers = true;
        self
    }

    /// What is reported but does not fail, one sentence each.
    ///
    /// # Errors
    /// Every finding that fails, and every exemption without a reason.
    pub fn check(mut self) -> Result<Vec<String>, CoverageError> {
        let mut failures: Vec<String> = self
            .exemptions
            .iter()
            .filter(|exemption| exemption.reason.trim().is_empty())
            .map(|exemption| {
                format!("the exemption of `{}` has no reason; say why", exemption.event)
            })
            .collect();
        let mut warnings = Vec::new();
        for finding in findings(self.registry) {
            if self.is_exempt(&finding) {
                continue;
            }
            match self.is_hard(&finding) {
                true => failures.push(finding.to_string()),
                false => warnings.push(finding.to_string()),
            }
        }
        warnings.extend(self.exemptions.iter().filter(|exemption| !exemption.needed).map(
            |exemption| {
                format!("the exemption of `{}` is no longer needed; remove it", exemption.event)
            },
        ));
        if failures.is_empty() { Ok(warnings) } else { Err(CoverageError { failures }) }
    }

    /// Checks, and prints what is reported but does not fail.
    ///
    /// # Panics
    /// Something fails; the text says what to write.
    #[track_caller]
    #[allow(clippy::print_stderr)] // seen with `--nocapture`, and when the test fails
    pub fn assert(self) {
        match self.check() {
            Ok(warnings) => {
                for warning in warnings {
                    eprintln!("coverage: {warning}");
                }
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn is_exempt(&mut self, finding: &Finding) -> bool {
        let mut exempt = false;
        for exemption in &mut self.exemptions {
            if exemption.event == finding.event() {
                exemption.needed = true;
                exempt = true;
            }
        }
        exempt
    }

    fn is_hard(&self, finding: &Finding) -> bool {
        match finding {
            Finding::Unchecked { .. } => self.deny_unchecked,
            Finding::NoReconciler { .. } => self.require_reconcilers,
            other => other.severity() == Severity::Error,
        }
    }
}

/// Publishers and subscribers do not match.
#[derive(Debug, Clone)]
pub struct CoverageError {
    failures: Vec<String>,
}

impl CoverageError {
    /// Everything that fails, one sentence each.
    #[must_use]
    pub fn failures(&self) -> &[String] {
        &self.failures
    }
}

impl fmt::Display for CoverageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event coverage fails in {} place(s):", self.failures.len())?;
        self.failures.iter().try_for_each(|failure| write!(f, "\n  - {failure}"))
    }
}

impl std::error::Error for CoverageError {}
