//! How a fleet on Redis is reached, and how this program behaves in it.

use std::fmt;
use std::time::Duration;

use redis::{ConnectionInfo, IntoConnectionInfo};

use crate::error::CeleryError;
use crate::keys::Keys;
use crate::link::Source;

/// Where Celery's Redis is, and what its fleet is set to.
///
/// ```
/// # use events_celery::CeleryOptions;
/// # use std::time::Duration;
/// let options = CeleryOptions::new("redis://worker:secret@127.0.0.1:6379/0")?
///     .key_prefix("acme:")
///     .visibility_timeout(Duration::from_secs(3600))
///     .shared_queues(["mail"]);
/// # Ok::<(), events_celery::CeleryError>(())
/// ```
///
/// What must be the same as in the Python programs, with their names for it (see Celery's
/// `broker_transport_options`): the database in the URL, [`key_prefix`](Self::key_prefix)
/// (`global_keyprefix`) and [`visibility_timeout`](Self::visibility_timeout). `priority_steps`, `sep`
/// and the names of the `unacked` keys must be kombu's defaults.
///
/// # Redis Cluster
/// Kombu has no transport for it. A node of a cluster works as far as one server can: give it a
/// prefix with a hash tag, such as `{acme}:`, so that all keys are in one slot, and the address of
/// the node that owns it. When the slot moves, commands fail and say so.
#[derive(Clone)]
#[must_use]
pub struct CeleryOptions {
    pub(crate) source: Source,
    pub(crate) prefix: String,
    pub(crate) visibility_timeout: Duration,
    pub(crate) response_timeout: Duration,
    pub(crate) shared_queues: Vec<String>,
    pub(crate) node: Option<String>,
    pub(crate) results: Option<Results>,
    pub(crate) task_events: bool,
}

/// Where results go.
#[derive(Clone)]
pub(crate) struct Results {
    pub(crate) source: Option<Source>,
    pub(crate) prefix: String,
    pub(crate) expire: Duration,
}

impl fmt::Debug for CeleryOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the URL: it may hold a password.
        f.debug_struct("CeleryOptions")
            .field("source", &self.source)
            .field("prefix", &self.prefix)
            .field("visibility_timeout", &self.visibility_timeout)
            .field("shared_queues", &self.shared_queues)
            .finish_non_exhaustive()
    }
}

impl CeleryOptions {
    /// The Redis at this URL: `redis://[user[:password]@]host[:port][/database]`, `rediss://…` for TLS
    /// (feature `tls`), or `redis+unix:///path?db=…`.
    ///
    /// # Errors
    /// The URL cannot be read, or is one of TLS and the feature is off.
    pub fn new(url: &str) -> Result<Self, CeleryError> {
        Ok(Self::of(Source::at(parse(url)?)?))
    }

    /// The Redis that these sentinels call the master of this name (feature `sentinel`). `urls` are
    /// the sentinels'; `url` says the database, user and password of the Redis itself, and its host is
    /// not looked at.
    ///
    /// Replication is asynchronous: a fail-over may lose or repeat the last moments.
    ///
    /// # Errors
    /// A URL cannot be read.
    #[cfg(feature = "sentinel")]
    pub fn sentinel<'u>(
        urls: impl IntoIterator<Item = &'u str>,
        master: &str,
        url: &str,
    ) -> Result<Self, CeleryError> {
        let sentinels = urls.into_iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        Ok(Self::of(Source::behind(sentinels, master, parse(url)?)?))
    }

    fn of(source: Source) -> Self {
        Self {
            source,
            prefix: String::new(),
            visibility_timeout: Duration::from_hours(1),
            response_timeout: Duration::from_secs(10),
            shared_queues: Vec::new(),
            node: None,
            results: None,
            task_events: false,
        }
    }

    /// Trusts the authorities whose certificates these are, in PEM, and no others: for a Redis whose
    /// certificate is of an authority of one's own. Without it the public authorities are trusted
    /// (feature `tls`). It holds for the sentinels and the Redis of the [`results`](Self::results_at),
    /// too, where their URLs say `rediss://`; call it after these are given.
    ///
    /// ```no_run
    /// # use events_celery::CeleryOptions;
    /// # fn options() -> Result<CeleryOptions, Box<dyn std::error::Error>> {
    /// let options = CeleryOptions::new("rediss://redis.internal:6379/0")?
    ///     .tls_root_certificate(&std::fs::read("/etc/ssl/our-authority.pem")?)?;
    /// # Ok(options) }
    /// ```
    ///
    /// # Errors
    /// The certificates cannot be read, or a URL is not one of TLS.
    #[cfg(feature = "tls")]
    pub fn tls_root_certificate(mut self, pem: &[u8]) -> Result<Self, CeleryError> {
        self.source = self.source.trusting(pem)?;
        if let Some(results) = &mut self.results
            && let Some(source) = &mut results.source
        {
            *source = source.trusting(pem)?;
        }
        Ok(self)
    }

    /// What is in front of every key and channel: kombu's `global_keyprefix`. Default nothing.
    pub fn key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// After how long a message that somebody holds is offered again: kombu's `visibility_timeout`.
    /// Default one hour, as kombu's.
    ///
    /// It applies to the messages of consumers that do not say they are alive, as those in Python do
    /// not: the shortest of a fleet counts for all. What this program holds it keeps alive however
    /// long it takes, and what a worker of ours held that died is offered again after its lease.
    /// It must not be shorter than the longest task of a Python worker, and never shorter than the
    /// lease.
    pub fn visibility_timeout(mut self, timeout: Duration) -> Self {
        self.visibility_timeout = timeout;
        self
    }

    /// How long Redis may take to answer before the connection is given up. Default 10 seconds; not
    /// less than 100 milliseconds. Blocking reads have a connection of their own.
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = timeout.max(Duration::from_millis(100));
        self
    }

    /// Queues whose tasks workers in Python know too. A task that this program must not run, because
    /// it does not know the name, cannot read the message, or other tasks hang on it, is given back
    /// there, and kept as a dead letter only when it came back again and again. On other queues,
    /// which are this program's own, it is a dead letter at once, unless its name is unknown: another
    /// release of this program may know it.
    ///
    /// A worker in Python that does not know a task's name throws the message away. So share a queue
    /// only with workers that know the same tasks.
    pub fn shared_queues<Q: Into<String>>(mut self, queues: impl IntoIterator<Item = Q>) -> Self {
        self.shared_queues = queues.into_iter().map(Into::into).collect();
        self
    }

    /// What this worker is called in the fleet, as in `celery status`: `name@host`, or a name alone for
    /// this host. Default `events-<process id>@<host>`. No two may have one name; the second worker of a
    /// process gets a number, `name-2@host`.
    pub fn node_name(mut self, name: impl Into<String>) -> Self {
        self.node = Some(name.into());
        self
    }

    /// Writes results for callers that wait for them (`AsyncResult.get`), where the message does not
    /// say `ignore_result`, as Celery's Redis backend does: beside the tasks, for this long. Default:
    /// no results.
    ///
    /// A handler here returns nothing, so the result is `None` in Python. Results are written before the
    /// message is acknowledged: while Redis is away both wait.
    pub fn results(mut self, expire: Duration) -> Self {
        self.results = Some(Results { source: None, prefix: String::new(), expire });
        self
    }

    /// As [`results`](Self::results), in another Redis or database, and with what stands before
    /// `celery-task-meta-` in the result backend's keys: its `global_keyprefix`, with an underscore
    /// behind it in Celery 5.3, and later only if it does not end in one of `:_-.`.
    ///
    /// While that Redis is away, tasks are settled without results, after two seconds at most and a
    /// warning: the work goes on, and who waits for one of these waits in vain.
    ///
    /// # Errors
    /// The URL cannot be read.
    pub fn results_at(
        mut self,
        url: &str,
        key_prefix: impl Into<String>,
        expire: Duration,
    ) -> Result<Self, CeleryError> {
        let source = Some(Source::at(parse(url)?)?);
        self.results = Some(Results { source, prefix: key_prefix.into(), expire });
        Ok(self)
    }

    /// Whether the worker tells of every task from its start, as Celery's `-E` does. Default no;
    /// `celery control enable_events`, which Flower sends, turns it on.
    pub fn task_events(mut self, yes: bool) -> Self {
        self.task_events = yes;
        self
    }

    pub(crate) fn node_name_or_default(&self) -> String {
        let at_host = |name: &str| {
            let host = gethostname::gethostname();
            format!("{name}@{}", host.to_string_lossy())
        };
        match &self.node {
            Some(name) if name.contains('@') => name.clone(),
            Some(name) => at_host(name),
            None => at_host(&format!("events-{}", std::process::id())),
        }
    }

    pub(crate) fn keys(&self) -> Keys {
        Keys::new(&self.prefix, self.source.database())
    }
}

fn parse(url: &str) -> Result<ConnectionInfo, CeleryError> {
    url.into_connection_info().map_err(|source| CeleryError::Url { source })
}
