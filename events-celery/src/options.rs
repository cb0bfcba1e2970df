//! How a fleet's Redis is opened, and how this program behaves in the fleet.

mod check;
mod results;

use std::time::Duration;

use events_core::Events;

pub use self::results::CeleryResults;
use crate::address::Purpose;
use crate::broker::CeleryBroker;
use crate::error::CeleryError;
use crate::source::{Access, Source};
use crate::transport::CeleryTransport;

/// The least that [`CeleryOptions::response_timeout`] can be.
const SHORTEST_RESPONSE: Duration = Duration::from_millis(100);

/// Options to open a [`CeleryBroker`] or a [`CeleryTransport`] with.
///
/// ```no_run
/// # use std::time::Duration;
/// # use events_celery::CeleryOptions;
/// # use events_core::Events;
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let events = Events::builder().build()?;
/// let broker = CeleryOptions::new()
///     .key_prefix("acme:")
///     .visibility_timeout(Duration::from_secs(7200))
///     .shared_queues(["mail"])
///     .connect("redis://worker:secret@127.0.0.1:6379/0", &events)
///     .await?;
/// # Ok(()) }
/// ```
///
/// What must be the same as in the Python programs, with their names for it (see Celery's
/// `broker_transport_options`): the URL (`broker_url`), [`key_prefix`](Self::key_prefix)
/// (`global_keyprefix`) and [`visibility_timeout`](Self::visibility_timeout). `priority_steps`, `sep`
/// and the names of the `unacked` keys must be kombu's defaults.
///
/// # URLs
/// They are those of Celery's `broker_url`, read as kombu reads them:
///
/// | URL | |
/// |---|---|
/// | `redis://[[user][:password]@]host[:6379][/0]` | without TLS |
/// | `rediss://…` | with TLS; feature `tls` |
/// | `redis+socket://[[user]:password@]/path[?virtual_host=0]`, `unix:///path[?db=0]` | a Unix socket; kombu knows only the first |
/// | `sentinel://[[user]:password@]host[:26379][/0];sentinel://…` | what the sentinels call the master; feature `sentinel`, and `master_name`. User, password and database are those of the Redis, and the first URL says them |
///
/// Characters such as `/`, `?`, `#` and `@` in a password are percent-encoded. TLS always checks the
/// certificate: a URL that asks not to, which kombu obeys, is an error.
///
/// # Redis Cluster
/// Kombu has no transport for it. A node of a cluster works as far as one server can: give it a
/// prefix with a hash tag, such as `{acme}:`, so that all keys are in one slot, and the address of
/// the node that owns it. When the slot moves, commands fail and say so.
#[derive(Debug, Clone)]
#[must_use]
pub struct CeleryOptions {
    pub(crate) prefix: String,
    pub(crate) visibility_timeout: Duration,
    pub(crate) response_timeout: Duration,
    pub(crate) shared_queues: Vec<String>,
    pub(crate) node: Option<String>,
    pub(crate) results: Option<CeleryResults>,
    pub(crate) task_events: bool,
    /// Nothing if nobody said whether.
    tls: Option<bool>,
    access: Access,
}

impl Default for CeleryOptions {
    fn default() -> Self {
        Self {
            prefix: String::new(),
            visibility_timeout: Duration::from_hours(1),
            response_timeout: Duration::from_secs(10),
            shared_queues: Vec::new(),
            node: None,
            results: None,
            task_events: false,
            tls: None,
            access: Access::default(),
        }
    }
}

/// Opening. What is wrong with the options or a URL is told here.
impl CeleryOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Connects a broker for workers to the fleet's Redis.
    ///
    /// # Errors
    /// A URL, an option or a certificate cannot be used, or Redis cannot be reached, refuses the user, or
    /// is too old; the text says what to do.
    pub async fn connect(&self, url: &str, events: &Events) -> Result<CeleryBroker, CeleryError> {
        self.check_shared_queues(events)?;
        CeleryBroker::open(self, url, events).await
    }

    /// Connects a transport, for programs that publish and do not work, to the fleet's Redis.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_transport(
        &self,
        url: &str,
        events: &Events,
    ) -> Result<CeleryTransport, CeleryError> {
        let transport = self.connect_transport_lazy(url, events)?;
        transport.check_version().await?;
        Ok(transport)
    }

    /// A transport that connects when the first task is sent, and does not look how old Redis is: a
    /// program that publishes through an outbox need not wait for Redis to start.
    ///
    /// # Errors
    /// A URL, an option or a certificate cannot be used; the text says what to do.
    pub fn connect_transport_lazy(
        &self,
        url: &str,
        events: &Events,
    ) -> Result<CeleryTransport, CeleryError> {
        let (source, _) = self.sources(url)?;
        Ok(CeleryTransport::new(self, source, events))
    }

    /// The Redis of the tasks, and that of the results if it is another one.
    pub(crate) fn sources(&self, url: &str) -> Result<(Source, Option<Source>), CeleryError> {
        self.check_node_name()?;
        let tls = self.tls.unwrap_or(false);
        let source = Source::at(url, Purpose::Tasks, tls, &self.access)?;
        let results = self.results.as_ref().and_then(CeleryResults::place);
        let results = results
            .map(|(url, tls)| Source::at(url, Purpose::Results, tls, &self.access))
            .transpose()?;
        #[cfg(feature = "tls")]
        self.check_tls(&source, results.as_ref())?;
        Ok((source, results))
    }
}

/// For workers and publishers.
impl CeleryOptions {
    /// What is in front of every key and channel: kombu's `global_keyprefix`. Default nothing.
    pub fn key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How long Redis may take to answer before the connection is given up. Default 10 seconds; less
    /// than 100 milliseconds is taken for these. Blocking reads have a connection of their own.
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = timeout.max(SHORTEST_RESPONSE);
        self
    }

    /// What this program is called in the fleet, as in `celery status`: `name@host`, or a name alone
    /// for this host; neither may be empty. Default `events-<process id>@<host>`. No two workers may have
    /// one name; the second worker of a process gets a number, `name-2@host`. Messages say it as their
    /// `origin`.
    pub fn node_name(mut self, name: impl Into<String>) -> Self {
        self.node = Some(name.into());
        self
    }

    /// Speaks TLS with Redis also where its URL says `redis://` or `sentinel://`, as Celery does with
    /// `broker_use_ssl` (feature `tls`). Default no; `rediss://` needs it not.
    ///
    /// Who gives certificates believes that nobody can listen: where the tasks are not encrypted, that is
    /// an error when it is opened. `tls(false)` says that certificates are only for the Redis of the
    /// results, or for the sentinels.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, yes: bool) -> Self {
        self.tls = Some(yes);
        self
    }

    /// Trusts the authorities whose certificates these are, in PEM, and no others: `ssl_ca_certs` in
    /// Celery's `broker_use_ssl` (feature `tls`). Default: those that this machine trusts, or those
    /// in the file that the environment variable `SSL_CERT_FILE` names.
    ///
    /// It holds for everything that speaks TLS: the Redis of the tasks, that of the results, and the
    /// sentinels.
    ///
    /// ```no_run
    /// # use events_celery::CeleryOptions;
    /// # use events_core::Events;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let events = Events::builder().build()?;
    /// let broker = CeleryOptions::new()
    ///     .tls_root_certificate(std::fs::read("/etc/ssl/our-authority.pem")?)
    ///     .connect("rediss://redis.internal:6379/0", &events)
    ///     .await?;
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "tls")]
    pub fn tls_root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.access.certificates.root = Some(pem.into());
        self
    }

    /// Shows this certificate, with those between it and its authority behind it, to a Redis that
    /// wants one of its clients, and the key to it; both in PEM: `ssl_certfile` and `ssl_keyfile` in
    /// Celery's `broker_use_ssl` (feature `tls`). Default none. It holds for everything that speaks
    /// TLS, as [`tls_root_certificate`](Self::tls_root_certificate).
    #[cfg(feature = "tls")]
    pub fn tls_client_certificate(
        mut self,
        certificate_pem: impl Into<Vec<u8>>,
        key_pem: impl Into<Vec<u8>>,
    ) -> Self {
        self.access.certificates.client = Some((certificate_pem.into(), key_pem.into()));
        self
    }

    /// The name by which sentinels know the Redis: `master_name` in Celery's
    /// `broker_transport_options` (feature `sentinel`). `sentinel://` URLs need it, and others do not
    /// look at it.
    ///
    /// Replication is asynchronous: a fail-over may lose or repeat the last moments.
    ///
    /// ```no_run
    /// # use events_celery::CeleryOptions;
    /// # use events_core::Events;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let events = Events::builder().build()?;
    /// let broker = CeleryOptions::new()
    ///     .master_name("mymaster")
    ///     .connect("sentinel://:secret@a:26379/0;sentinel://b:26379;sentinel://c:26379", &events)
    ///     .await?;
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "sentinel")]
    pub fn master_name(mut self, name: impl Into<String>) -> Self {
        self.access.sentinels.master_name = Some(name.into());
        self
    }

    /// The user as whom the sentinels themselves are asked: `username` in Celery's `sentinel_kwargs`
    /// (feature `sentinel`). Default none. That of the Redis is in the URL.
    #[cfg(feature = "sentinel")]
    pub fn sentinel_username(mut self, username: impl Into<String>) -> Self {
        self.access.sentinels.username = Some(username.into());
        self
    }

    /// The password that the sentinels themselves ask for: `password` in Celery's `sentinel_kwargs`
    /// (feature `sentinel`). Default none. That of the Redis is in the URL.
    #[cfg(feature = "sentinel")]
    pub fn sentinel_password(mut self, password: impl Into<String>) -> Self {
        self.access.sentinels.password = Some(password.into());
        self
    }

    /// Speaks TLS with the sentinels themselves: `ssl` in Celery's `sentinel_kwargs` (features
    /// `sentinel` and `tls`). Default no. For the Redis behind them there is [`tls`](Self::tls).
    #[cfg(all(feature = "sentinel", feature = "tls"))]
    pub fn sentinel_tls(mut self, yes: bool) -> Self {
        self.access.sentinels.tls = yes;
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
}

/// For workers only: a [`CeleryTransport`] does not look at these.
impl CeleryOptions {
    /// After how long a message that somebody holds is offered again: kombu's `visibility_timeout`.
    /// Default one hour, as kombu's.
    ///
    /// It applies to the messages of consumers that do not say they are alive, as those in Python do
    /// not: the shortest of a fleet counts for all. What this program holds it keeps alive however
    /// long it takes, and what a worker of ours held that died is offered again after its lease.
    /// It must not be shorter than the longest task of a Python worker, and never shorter than the
    /// lease, which is told with a warning.
    pub fn visibility_timeout(mut self, timeout: Duration) -> Self {
        self.visibility_timeout = timeout;
        self
    }

    /// Queues whose tasks workers in Python know too. Those of several calls add up. Default none. Each
    /// must be the queue of a subscriber of this program, if it has any: a name that is misspelt is an
    /// error when a broker is opened.
    ///
    /// A task that this program must not run, because it does not know the name, cannot read the
    /// message, or other tasks depend on it (`link`, `chain`, `chord`), is given back there, and kept
    /// as a dead letter only when it came back again and again. On other queues, which are this
    /// program's own, it is a dead letter at once, unless its name is unknown: another release of
    /// this program may know it.
    ///
    /// A worker in Python that does not know a task's name throws the message away. So share a queue
    /// only with workers that know the same tasks.
    pub fn shared_queues<Q: Into<String>>(mut self, queues: impl IntoIterator<Item = Q>) -> Self {
        self.shared_queues.extend(queues.into_iter().map(Into::into));
        self
    }

    /// Writes results for callers that wait for them (`AsyncResult.get`), where the message does not
    /// say `ignore_result`, as Celery's Redis backend does. Default: no results.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use events_celery::{CeleryOptions, CeleryResults};
    /// let day = Duration::from_secs(86_400);
    /// let options = CeleryOptions::new().results(CeleryResults::new(day));
    /// ```
    pub fn results(mut self, results: CeleryResults) -> Self {
        self.results = Some(results);
        self
    }

    /// Whether the worker tells of every task from its start, as Celery's `-E` does. Default no;
    /// `celery control enable_events`, which Flower sends, turns it on.
    pub fn task_events(mut self, yes: bool) -> Self {
        self.task_events = yes;
        self
    }
}

#[cfg(test)]
mod tests;
