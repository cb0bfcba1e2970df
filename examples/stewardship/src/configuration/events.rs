//! The table `events`: the framework's own settings.

use std::collections::BTreeMap;

use events_core::{EventSettings, Events, StartError};
use serde::Deserialize as _;
use toml::{Table, Value};

use super::mistakes::{Mistake, Origin};
use super::sources::{self, Sources};

const TABLE: &str = "events.";

/// Puts what is configured over the application's own settings. Each key is read alone, so that the
/// framework's words about it are told with where it stands; this is returned.
pub(super) fn overlay(
    sources: &mut Sources,
    settings: &mut EventSettings,
) -> BTreeMap<String, Origin> {
    let mut origins = BTreeMap::new();
    for key in sources.keys_of(TABLE) {
        let full = format!("{TABLE}{key}");
        let Some((origin, value)) = sources.take_raw(&full) else { continue };
        if key == "reconcilers" || key.starts_with("reconcilers.") {
            sources.refuse_with(
                &full,
                &origin,
                "sweeps have keys of their own, which are checked",
                "set `inheritance_sweep_minutes` or `statistics_sweep_minutes`",
            );
            continue;
        }
        let alone = |value: Value| {
            let table = Table::from_iter([(key.clone(), value)]);
            EventSettings::deserialize(Value::Table(table))
        };
        match sources::read(&origin, &value, alone) {
            Ok(given) => {
                put(&key, given, settings);
                origins.insert(key, origin);
            }
            Err(error) => {
                sources.refuse(&full, &origin, error.message().trim());
            }
        }
    }
    origins
}

/// Takes over the one field that was given.
fn put(key: &str, given: EventSettings, settings: &mut EventSettings) {
    // Without `..`: a setting that the framework gains is not forgotten here.
    let EventSettings {
        enabled,
        default_queue,
        max_retries,
        retry_backoff,
        max_retry_backoff,
        timeout,
        payload_limit_bytes,
        lease,
        unknown_task_delay,
        retain_completed,
        reconcilers: _,
    } = given;
    match key {
        "enabled" => settings.enabled = enabled,
        "default_queue" => settings.default_queue = default_queue,
        "max_retries" => settings.max_retries = max_retries,
        "retry_backoff" => settings.retry_backoff = retry_backoff,
        "max_retry_backoff" => settings.max_retry_backoff = max_retry_backoff,
        "timeout" => settings.timeout = timeout,
        "payload_limit_bytes" => settings.payload_limit_bytes = payload_limit_bytes,
        "lease" => settings.lease = lease,
        "unknown_task_delay" => settings.unknown_task_delay = unknown_task_delay,
        "retain_completed" => settings.retain_completed = retain_completed,
        _ => {} // it would not have been read
    }
}

/// Checks the settings together, as a program that starts with them does.
pub(super) fn check(
    sources: &mut Sources,
    settings: &EventSettings,
    origins: &BTreeMap<String, Origin>,
) {
    match Events::builder().settings(settings.clone()).build() {
        Ok(_) => {}
        Err(StartError::Setting(invalid)) => {
            let key = invalid.key();
            let from = origins.get(key).map(|origin| format!(" (from {origin})"));
            let from = from.unwrap_or_default();
            sources.add(Mistake::new(format!("`{TABLE}{key}`{from}: {invalid}")));
        }
        Err(wiring) => sources.add(Mistake::new(wiring.to_string())),
    }
}
