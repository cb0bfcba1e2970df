//! Where results go.

use std::fmt;
use std::time::Duration;

/// Where the results of tasks go, and how long they are kept: Celery's `result_backend` and
/// `result_expires`.
///
/// ```
/// # use std::time::Duration;
/// # use events_celery::{CeleryOptions, CeleryResults};
/// // result_backend = "redis://cache.internal:6379/1"
/// // result_expires = 3600
/// // result_backend_transport_options = {"global_keyprefix": "acme"}
/// let results = CeleryResults::new(Duration::from_secs(3600))
///     .at("redis://cache.internal:6379/1")
///     .global_keyprefix("acme");
/// let options = CeleryOptions::new().results(results);
/// ```
///
/// A handler here returns nothing, so the result is `None` in Python. Results are written before the
/// message is acknowledged. Where they lie beside the tasks, as they do by default, both wait while
/// Redis is away.
#[derive(Clone)]
#[must_use]
pub struct CeleryResults {
    /// Nothing if they stay for ever.
    pub(crate) expire_seconds: Option<u64>,
    pub(crate) prefix: String,
    /// Nothing if they lie beside the tasks.
    url: Option<String>,
    tls: bool,
}

impl fmt::Debug for CeleryResults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the URL: it may hold a password.
        f.debug_struct("CeleryResults")
            .field("expire", &self.expire_seconds.map(Duration::from_secs))
            .field("key_prefix", &self.prefix)
            .field("are_elsewhere", &self.url.is_some())
            .field("tls", &self.tls)
            .finish()
    }
}

impl CeleryResults {
    /// Beside the tasks, for this long: whole seconds, of which one that has begun counts, and at
    /// least one.
    pub fn new(expire: Duration) -> Self {
        let begun = u64::from(expire.subsec_nanos() > 0);
        let seconds = expire.as_secs().saturating_add(begun).max(1);
        Self { expire_seconds: Some(seconds), ..Self::forever() }
    }

    /// Beside the tasks, and never removed, as with Celery's `result_expires = None`: somebody else
    /// has to, or Redis fills up.
    pub fn forever() -> Self {
        Self { expire_seconds: None, prefix: String::new(), url: None, tls: false }
    }

    /// In another Redis or database than the tasks; a URL as Celery's `result_backend`. See
    /// [URLs](super::CeleryOptions#urls); the certificates of the [options](super::CeleryOptions) and
    /// what they say of sentinels hold here too. Behind the `?` of `redis+socket://` Celery looks at `db`,
    /// `username` and `password` here, and so does this.
    ///
    /// While that Redis is away, tasks are settled without results, after two seconds at most and a
    /// warning: the work goes on, and who waits for one of these waits in vain.
    pub fn at(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    /// `global_keyprefix` in Celery's `result_backend_transport_options`. Default none; the
    /// [key prefix](super::CeleryOptions::key_prefix) of the tasks does not hold for results.
    ///
    /// Celery adds an underscore: from 5.5 on only if the prefix does not end in one of `:_-.`, and so
    /// does this; before, always. For a fleet of an older Celery and such a prefix give
    /// [`raw_key_prefix`](Self::raw_key_prefix) what it makes of it, `acme:_`.
    pub fn global_keyprefix(self, prefix: impl Into<String>) -> Self {
        let mut prefix = prefix.into();
        if !prefix.is_empty() && !prefix.ends_with([':', '_', '-', '.']) {
            prefix.push('_');
        }
        self.raw_key_prefix(prefix)
    }

    /// What stands in front of `celery-task-meta-` in the keys and channels of results, as it is, in
    /// place of what [`global_keyprefix`](Self::global_keyprefix) made of its own.
    pub fn raw_key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Speaks TLS with the Redis of [`at`](Self::at) also where its URL does not say `rediss://`, as
    /// Celery does with `redis_backend_use_ssl` (feature `tls`). Default no. Results beside the tasks
    /// are encrypted as those are: to ask for it where they are not is an error when it is opened.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, yes: bool) -> Self {
        self.tls = yes;
        self
    }

    /// Where they are, if not beside the tasks, and whether TLS is to be spoken whatever the URL says.
    pub(super) fn place(&self) -> Option<(&str, bool)> {
        self.url.as_deref().map(|url| (url, self.tls))
    }

    /// Whether TLS is asked for beside the tasks.
    #[cfg(feature = "tls")]
    pub(super) fn want_tls_beside_the_tasks(&self) -> bool {
        self.tls && self.url.is_none()
    }
}
