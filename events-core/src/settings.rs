//! What an application may set, with the defaults.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::cadence::Schedule;
use crate::lifecycle::RetryBackoff;

/// Settings of the framework, to be embedded in the application's own configuration.
///
/// Every key is optional; an unknown one is refused. Durations are texts such as `"250ms"`,
/// `"30s"` or `"1h 30m"`.
///
/// ```
/// # use events_core::EventSettings;
/// let settings: EventSettings = serde_json::from_str(
///     r#"{ "default_queue": "stewardship", "max_retries": 8, "lease": "20s" }"#,
/// )?;
/// assert_eq!(settings.max_retries, 8);
/// assert!(serde_json::from_str::<EventSettings>(r#"{ "max_retry": 8 }"#).is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventSettings {
    /// The kill switch: `false` logs and drops committed events. Default `true`.
    pub enabled: bool,
    /// The queue of subscribers that name none. Default `"events"`.
    pub default_queue: String,
    /// How often a failed task is tried again before it is a dead letter. Default 20.
    pub max_retries: u32,
    /// The pause before the first retry; it doubles with each. Default one second.
    #[serde(deserialize_with = "duration")]
    pub retry_backoff: Duration,
    /// The longest pause between two tries. Default one hour.
    #[serde(deserialize_with = "duration")]
    pub max_retry_backoff: Duration,
    /// How long a handler may run unless its subscriber says otherwise. Default five minutes.
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
    /// The largest payload, in bytes of JSON. Default 65,536.
    pub payload_limit_bytes: usize,
    /// How long a worker may be silent before others take over its tasks. Default 15 seconds.
    #[serde(deserialize_with = "duration")]
    pub lease: Duration,
    /// The pause before a task is offered again whose name this program does not know. Default 30
    /// seconds.
    #[serde(deserialize_with = "duration")]
    pub unknown_task_delay: Duration,
    /// How long completed tasks are kept in the archive; `None` keeps none. Default `None`.
    #[serde(deserialize_with = "optional_duration")]
    pub retain_completed: Option<Duration>,
    /// What is to be different for reconcilers from what their attributes say, by their names: the
    /// whole, or the last segment where that is unambiguous. Default nothing.
    pub reconcilers: BTreeMap<String, ReconcilerSettings>,
}

/// What is to be different for a reconciler from what its attribute says.
///
/// At most one of `every`, `cron` and `on_demand_only`. `jitter`, `run_on_start` and `deadline` stay
/// those of the attribute; jitter and deadline are cut to a shorter `every`.
///
/// ```
/// # use events_core::EventSettings;
/// let settings: EventSettings = serde_json::from_str(
///     r#"{ "reconcilers": {
///         "sweep_orders": { "cron": "30 2 * * *", "time_zone": "Europe/Berlin" },
///         "sweep_people": { "every": "1h" },
///         "sweep_files": { "on_demand_only": true }
///     } }"#,
/// )?;
/// assert_eq!(settings.reconcilers["sweep_orders"].cron.as_deref(), Some("30 2 * * *"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReconcilerSettings {
    /// How often it runs, at least one second. One that runs on demand only gets a cadence by it.
    #[serde(deserialize_with = "optional_duration")]
    pub every: Option<Duration>,
    /// The cron expression by which it runs, instead of `every`; read by workers when they start.
    pub cron: Option<String>,
    /// The time zone of `cron`, which it needs, by its name in the IANA database.
    pub time_zone: Option<String>,
    /// `true`: it runs on demand only.
    pub on_demand_only: bool,
}

impl Default for EventSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            default_queue: "events".into(),
            max_retries: 20,
            retry_backoff: Duration::from_secs(1),
            max_retry_backoff: Duration::from_hours(1),
            timeout: Duration::from_mins(5),
            payload_limit_bytes: 65_536,
            lease: Duration::from_secs(15),
            unknown_task_delay: Duration::from_secs(30),
            retain_completed: None,
            reconcilers: BTreeMap::new(),
        }
    }
}

impl EventSettings {
    /// The retry backoff of subscribers that declare none.
    #[must_use]
    pub fn backoff(&self) -> RetryBackoff {
        RetryBackoff { initial: self.retry_backoff, maximum: self.max_retry_backoff }
    }

    /// Refuses the first value that cannot work.
    pub(crate) fn check(&self) -> Result<(), InvalidSetting> {
        let refuse = |key, remedy| Err(InvalidSetting::new(key, remedy));
        if !is_queue_name(&self.default_queue) {
            return refuse("default_queue", QUEUE_NAMES);
        }
        if self.payload_limit_bytes < 2 {
            return refuse("payload_limit_bytes", "give at least 2 bytes, enough for `{}`");
        }
        if self.lease < Duration::from_millis(100) {
            return refuse(
                "lease",
                "give at least 100 ms: a worker writes its heartbeat three times a lease",
            );
        }
        if self.timeout.is_zero() {
            return refuse("timeout", "give handlers some time to run");
        }
        if self.retry_backoff.is_zero() {
            return refuse(
                "retry_backoff",
                "give at least 1 ms: without a pause a failing task spins",
            );
        }
        if self.unknown_task_delay.is_zero() {
            return refuse(
                "unknown_task_delay",
                "give at least 1 ms: without a pause an unknown task spins",
            );
        }
        if self.max_retry_backoff < self.retry_backoff {
            return refuse("max_retry_backoff", "make it at least `retry_backoff`");
        }
        self.reconcilers.iter().try_for_each(|(name, settings)| settings.check(name))
    }
}

impl ReconcilerSettings {
    /// When its runs begin instead, if that is said.
    pub(crate) fn schedule(&self) -> Option<Schedule> {
        match (self.every, &self.cron, &self.time_zone) {
            (Some(every), _, _) => Some(Schedule::Every(every)),
            (None, Some(expression), Some(time_zone)) => Some(Schedule::Cron {
                expression: expression.clone().into(),
                time_zone: time_zone.clone().into(),
            }),
            _ => None,
        }
    }

    fn check(&self, name: &str) -> Result<(), InvalidSetting> {
        let refuse = |key, remedy: &'static str| {
            Err(InvalidSetting::new(format!("reconcilers.{name}.{key}"), remedy))
        };
        if self.every.is_some_and(|every| every < SHORTEST_CADENCE) {
            return refuse("every", "give at least 1s");
        }
        if self.on_demand_only && (self.every.is_some() || self.cron.is_some()) {
            return refuse("on_demand_only", "a cadence is given, too; keep one of them");
        }
        match (&self.every, &self.cron, &self.time_zone) {
            (Some(_), Some(_), _) => {
                refuse("cron", "`every` says when it runs already; keep one of them")
            }
            (_, Some(_), None) => refuse(
                "time_zone",
                "`cron` is read on the clocks of a time zone; add one, such as \"UTC\"",
            ),
            (_, None, Some(_)) => {
                refuse("time_zone", "it is for `cron`; add that beside it, or remove this")
            }
            _ => Ok(()),
        }
    }
}

/// Workers look about so often whether a reconciler is due.
const SHORTEST_CADENCE: Duration = Duration::from_secs(1);

/// A setting that cannot work; the text says what would.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the event setting `{key}` cannot be used: {remedy}")]
pub struct InvalidSetting {
    key: Cow<'static, str>,
    remedy: Cow<'static, str>,
}

impl InvalidSetting {
    pub(crate) fn new(
        key: impl Into<Cow<'static, str>>,
        remedy: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { key: key.into(), remedy: remedy.into() }
    }

    /// The key, as it is written within the table of [`EventSettings`]: for an application that tells
    /// where the value came from.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

pub(crate) const QUEUE_NAMES: &str =
    "a queue is named with 1 to 64 of the letters a-z, A-Z, 0-9, `-`, `_`, `.`";

/// Portable over databases, brokers and command lines.
pub(crate) fn is_queue_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    parse(&text)
}

fn optional_duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    Option::<String>::deserialize(from)?.as_deref().map(parse).transpose()
}

fn parse<E: serde::de::Error>(text: &str) -> Result<Duration, E> {
    humantime::parse_duration(text).map_err(|error| {
        E::custom(format!("`{text}` is not a duration ({error}); write it like \"30s\""))
    })
}
