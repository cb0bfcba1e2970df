//! Options that mean nothing, or not what they seem to: told when they are used.

use std::borrow::Cow;

use events_core::Events;

use super::CeleryOptions;
#[cfg(feature = "tls")]
use super::CeleryResults;
use crate::broker::known_queues;
use crate::error::CeleryError;
#[cfg(feature = "tls")]
use crate::source::Source;

fn unusable(remedy: impl Into<Cow<'static, str>>) -> CeleryError {
    CeleryError::Options { remedy: remedy.into() }
}

impl CeleryOptions {
    /// A queue that is misspelt would not be a shared one, and tasks for Python dead letters. A program that
    /// runs none only looks.
    pub(super) fn check_shared_queues(&self, events: &Events) -> Result<(), CeleryError> {
        let queues = known_queues(events);
        let unknown = self.shared_queues.iter().find(|queue| !queues.contains(&***queue));
        let Some(queue) = unknown.filter(|_| !queues.is_empty()) else { return Ok(()) };
        let queues: Vec<_> = queues.into_iter().map(|queue| format!("`{queue}`")).collect();
        Err(unusable(format!(
            "`shared_queues` has `{queue}`, and no subscriber of this program has that queue; the queues of its subscribers are {}",
            queues.join(", ")
        )))
    }

    pub(super) fn check_node_name(&self) -> Result<(), CeleryError> {
        let Some(node) = &self.node else { return Ok(()) };
        let (name, host) = match node.split_once('@') {
            Some((name, host)) => (name, Some(host)),
            None => (&**node, None),
        };
        match name.is_empty() || host == Some("") {
            true => Err(unusable(
                "`node_name` is to be `name@host`, or a name alone for this host, and neither may be empty",
            )),
            false => Ok(()),
        }
    }

    #[cfg(feature = "tls")]
    pub(super) fn check_tls(
        &self,
        tasks: &Source,
        results: Option<&Source>,
    ) -> Result<(), CeleryError> {
        if tasks.is_encrypted() {
            return Ok(());
        }
        if self.results.as_ref().is_some_and(CeleryResults::want_tls_beside_the_tasks) {
            return Err(unusable(
                "the results are to be encrypted, and lie beside the tasks, which are not; call `CeleryOptions::tls(true)` for both, or say `at` which other Redis they are",
            ));
        }
        let others = [Some(tasks), results].into_iter().flatten();
        let for_others = self.tls == Some(false)
            && others
                .into_iter()
                .any(|other| other.is_encrypted() || other.is_asked_for_with_tls());
        match self.access.certificates.are_given() && !for_others {
            true => Err(CeleryError::NoTls),
            false => Ok(()),
        }
    }
}
