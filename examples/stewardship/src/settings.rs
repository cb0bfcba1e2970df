//! How the framework is set for this application.

use std::time::Duration;

use events_core::EventSettings;
use events_core::settings::ReconcilerSettings;

/// The settings of the application and of its workers.
#[must_use]
pub fn settings() -> EventSettings {
    EventSettings {
        // What the handlers have in common; a handler names only what it has otherwise.
        default_queue: "stewardship".into(),
        max_retries: 8,
        retry_backoff: Duration::from_millis(100),
        max_retry_backoff: Duration::from_secs(10),
        timeout: Duration::from_secs(30),
        // A killed worker's tasks are taken over after so long: a run of seconds should not wait
        // for the default of a quarter of a minute.
        lease: Duration::from_secs(5),
        ..EventSettings::default()
    }
}

/// Sets how often a reconciler of this application runs by itself.
pub(crate) fn sweep_every(settings: &mut EventSettings, reconciler: &str, every: Duration) {
    let cadence = ReconcilerSettings { every: Some(every), ..ReconcilerSettings::default() };
    settings.reconcilers.insert(reconciler.to_owned(), cadence);
}
