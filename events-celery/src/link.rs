//! Connections to Redis: made when needed, thrown away when they break, made again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionInfo, FromRedisValue, Pipeline};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout};

use crate::error::{CeleryError, code, connect_remedy};

/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// Between two tries to connect: doubles with every failure.
const RETRY: Duration = Duration::from_millis(50);
const LONGEST_RETRY: Duration = Duration::from_secs(2);

/// Where a Redis is to be found.
#[derive(Clone)]
pub(crate) enum Source {
    /// At one address.
    Direct { client: Client },
    /// Where the sentinels say.
    #[cfg(feature = "sentinel")]
    Sentinel { client: Arc<Mutex<redis::sentinel::SentinelClient>>, of: Sentinels },
}

/// The sentinels, and of the Redis that they name everything but its address.
#[cfg(feature = "sentinel")]
#[derive(Clone)]
pub(crate) struct Sentinels {
    addresses: Vec<ConnectionInfo>,
    pub(crate) master: String,
    redis: ConnectionInfo,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address())
    }
}

impl Source {
    pub(crate) fn at(info: ConnectionInfo) -> Result<Self, CeleryError> {
        #[cfg(feature = "tls")]
        choose_cryptography();
        let client = Client::open(info).map_err(|source| CeleryError::Url { source })?;
        Ok(Self::Direct { client })
    }

    #[cfg(feature = "sentinel")]
    pub(crate) fn behind(
        sentinels: Vec<ConnectionInfo>,
        master: &str,
        redis: ConnectionInfo,
    ) -> Result<Self, CeleryError> {
        use redis::sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};
        #[cfg(feature = "tls")]
        choose_cryptography();
        let mut node = SentinelNodeConnectionInfo::default()
            .set_redis_connection_info(redis.redis_settings().clone());
        if is_tls(&redis) {
            node = node.set_tls_mode(redis::TlsMode::Secure);
        }
        let client = SentinelClient::build(
            sentinels.clone(),
            master,
            Some(node),
            SentinelServerType::Master,
        )
        .map_err(|source| CeleryError::Url { source })?;
        let of = Sentinels { addresses: sentinels, master: master.to_owned(), redis };
        Ok(Self::Sentinel { client: Arc::new(Mutex::new(client)), of })
    }

    /// The same, trusting the authorities of these certificates and no other.
    #[cfg(feature = "tls")]
    pub(crate) fn trusting(&self, pem: &[u8]) -> Result<Self, CeleryError> {
        // What holds none would be taken for a list of no authorities.
        if !String::from_utf8_lossy(pem).contains("-----BEGIN CERTIFICATE-----") {
            let source = (redis::ErrorKind::InvalidClientConfig, "it holds no certificate").into();
            return Err(CeleryError::Certificate { source });
        }
        let trusted = match self {
            Self::Direct { client } => {
                Client::build_with_tls(client.get_connection_info().clone(), certificates(pem))
                    .map(|client| Self::Direct { client })
            }
            #[cfg(feature = "sentinel")]
            Self::Sentinel { of, .. } => of.trusting(pem).map(|client| Self::Sentinel {
                client: Arc::new(Mutex::new(client)),
                of: of.clone(),
            }),
        };
        trusted.map_err(|source| CeleryError::Certificate { source })
    }

    pub(crate) fn database(&self) -> i64 {
        match self {
            Self::Direct { client } => client.get_connection_info().redis_settings().db(),
            #[cfg(feature = "sentinel")]
            Self::Sentinel { of, .. } => of.redis.redis_settings().db(),
        }
    }

    /// For messages: without user and password.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Direct { client } => client.get_connection_info().addr().to_string(),
            #[cfg(feature = "sentinel")]
            Self::Sentinel { of, .. } => format!("the sentinels' master `{}`", of.master),
        }
    }

    #[cfg_attr(
        not(feature = "sentinel"),
        expect(clippy::unused_async, reason = "sentinels have to be asked")
    )]
    async fn client(&self) -> Result<Client, redis::RedisError> {
        match self {
            Self::Direct { client } => Ok(client.clone()),
            #[cfg(feature = "sentinel")]
            Self::Sentinel { client, .. } => client.lock().await.async_get_client().await,
        }
    }

    fn failed(&self, source: redis::RedisError) -> CeleryError {
        CeleryError::Connect { address: self.address(), remedy: connect_remedy(&source), source }
    }

    /// A connection whose commands are answered within `response`, or whenever they are.
    pub(crate) async fn connect(
        &self,
        response: Option<Duration>,
    ) -> Result<MultiplexedConnection, CeleryError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(response);
        let connect = async {
            let client = self.client().await?;
            client.get_multiplexed_async_connection_with_config(&config).await
        };
        match timeout(CONNECT * 2, connect).await {
            Ok(connection) => connection.map_err(|error| self.failed(error)),
            Err(_) => {
                Err(CeleryError::NoConnection { address: self.address(), waited: CONNECT * 2 })
            }
        }
    }

    /// A connection that listens to channels.
    pub(crate) async fn subscribe(&self) -> Result<PubSub, CeleryError> {
        let connect = async { self.client().await?.get_async_pubsub().await };
        match timeout(CONNECT * 2, connect).await {
            Ok(connection) => connection.map_err(|error| self.failed(error)),
            Err(_) => {
                Err(CeleryError::NoConnection { address: self.address(), waited: CONNECT * 2 })
            }
        }
    }
}

#[cfg(all(feature = "sentinel", feature = "tls"))]
impl Sentinels {
    fn trusting(&self, pem: &[u8]) -> Result<redis::sentinel::SentinelClient, redis::RedisError> {
        use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
        let addresses = self.addresses.iter().map(|info| info.addr().clone());
        let mut client =
            SentinelClientBuilder::new(addresses, &self.master, SentinelServerType::Master)?;
        if let Some(first) = self.addresses.first() {
            // One user is all that can be said here; that sentinels have several, nobody has heard of.
            let settings = first.redis_settings();
            client = match settings.username() {
                Some(user) => client.set_client_to_sentinel_username(user),
                None => client,
            };
            client = match settings.password() {
                Some(password) => client.set_client_to_sentinel_password(password),
                None => client,
            };
            if self.addresses.iter().all(is_tls) {
                client = client.set_client_to_sentinel_certificates(certificates(pem));
            }
        }
        let settings = self.redis.redis_settings();
        client = match settings.username() {
            Some(user) => client.set_client_to_redis_username(user),
            None => client,
        };
        client = match settings.password() {
            Some(password) => client.set_client_to_redis_password(password),
            None => client,
        };
        if is_tls(&self.redis) {
            client = client
                .set_client_to_redis_tls_mode(redis::TlsMode::Secure)
                .set_client_to_redis_certificates(certificates(pem));
        }
        client.set_client_to_redis_db(settings.db()).build()
    }
}

/// rustls panics if nobody says which cryptography is meant and several are compiled into the program.
#[cfg(feature = "tls")]
fn choose_cryptography() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error is that of somebody else who was faster.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

#[cfg(feature = "sentinel")]
fn is_tls(info: &ConnectionInfo) -> bool {
    matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. })
}

#[cfg(feature = "tls")]
fn certificates(pem: &[u8]) -> redis::TlsCertificates {
    redis::TlsCertificates { client_tls: None, root_cert: Some(pem.to_vec()) }
}

/// The one connection of many callers, whose commands it sends in the order in which they come.
#[derive(Debug)]
pub(crate) struct Link {
    source: Source,
    response_timeout: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<MultiplexedConnection>,
    /// Grows with every connection, so that an error is charged to the one that it came from.
    number: u64,
    failures: u32,
    not_before: Option<Instant>,
    /// The last try, and what came of it.
    failure: Option<(Instant, String)>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("number", &self.number).finish_non_exhaustive()
    }
}

/// An error and its cause.
fn told(error: &CeleryError) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}

/// A script that Redis runs as a whole.
#[derive(Debug)]
pub(crate) struct Script {
    text: &'static str,
    hash: String,
}

impl Script {
    pub(crate) fn new(text: &'static str) -> Self {
        Self { text, hash: redis::Script::new(text).get_hash().to_owned() }
    }
}

impl Link {
    pub(crate) fn new(source: Source, response_timeout: Duration) -> Arc<Self> {
        Arc::new(Self { source, response_timeout, state: Mutex::default() })
    }

    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    async fn connection(&self) -> Result<(u64, MultiplexedConnection), CeleryError> {
        let asked = Instant::now();
        let mut state = self.state.lock().await; // one connects, the others wait for it
        if let Some(connection) = &state.connection {
            return Ok((state.number, connection.clone()));
        }
        // And share what comes of it: they must not try one after the other.
        if let Some((failed_at, reason)) = &state.failure
            && *failed_at > asked
        {
            let (address, reason) = (self.source.address(), reason.clone());
            return Err(CeleryError::Away { address, reason });
        }
        if let Some(not_before) = state.not_before {
            sleep_until(not_before).await;
        }
        match self.source.connect(Some(self.response_timeout)).await {
            Ok(connection) => {
                if state.failures > 0 {
                    tracing::info!(address = self.source.address(), "Redis is reached again");
                }
                state.failures = 0;
                state.not_before = None;
                state.number += 1;
                state.connection = Some(connection.clone());
                Ok((state.number, connection))
            }
            Err(error) => {
                state.failures = state.failures.saturating_add(1);
                let pause = RETRY.saturating_mul(1 << state.failures.min(10)).min(LONGEST_RETRY);
                let pause = pause.mul_f64(0.5 + 0.5 * fastrand::f64());
                state.not_before = Some(Instant::now() + pause);
                state.failure = Some((Instant::now(), told(&error)));
                Err(error)
            }
        }
    }

    async fn note(&self, number: u64, error: &redis::RedisError) {
        // A replica that was the master, or a node that lost the slot, is of no use any more either.
        let useless = error.is_io_error()
            || error.is_connection_dropped()
            || error.is_unrecoverable_error()
            || matches!(code(error).as_deref(), Some("READONLY" | "MOVED"));
        if useless {
            let mut state = self.state.lock().await;
            if state.number == number {
                state.connection = None;
            }
        }
    }

    /// Sends one command. Not again if the connection breaks: whether it was done is unknown then.
    pub(crate) async fn command<T: FromRedisValue>(
        &self,
        action: &'static str,
        command: &Cmd,
    ) -> Result<T, CeleryError> {
        let (number, mut connection) = self.connection().await?;
        match command.query_async(&mut connection).await {
            Ok(answer) => Ok(answer),
            Err(error) => {
                self.note(number, &error).await;
                Err(CeleryError::command(action, error))
            }
        }
    }

    /// Sends several commands at once.
    pub(crate) async fn pipeline<T: FromRedisValue>(
        &self,
        action: &'static str,
        pipeline: &Pipeline,
    ) -> Result<T, CeleryError> {
        let (number, mut connection) = self.connection().await?;
        match pipeline.query_async(&mut connection).await {
            Ok(answer) => Ok(answer),
            Err(error) => {
                self.note(number, &error).await;
                Err(CeleryError::command(action, error))
            }
        }
    }

    /// Sends several commands at once, each of which may fail for itself.
    pub(crate) async fn pipeline_each(
        &self,
        action: &'static str,
        mut pipeline: Pipeline,
    ) -> Result<Vec<Result<i64, CeleryError>>, CeleryError> {
        let (number, mut connection) = self.connection().await?;
        let pipeline = pipeline.ignore_errors();
        let answers: Result<Vec<redis::RedisResult<i64>>, _> =
            pipeline.query_async(&mut connection).await;
        let answers = match answers {
            Ok(answers) => answers,
            Err(error) => {
                self.note(number, &error).await;
                return Err(CeleryError::command(action, error));
            }
        };
        for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            self.note(number, error).await;
        }
        let told = |answer: redis::RedisResult<i64>| {
            answer.map_err(|error| CeleryError::command(action, error))
        };
        Ok(answers.into_iter().map(told).collect())
    }

    /// Runs a script. `give` adds the number of keys, the keys, and the arguments.
    pub(crate) async fn script<T: FromRedisValue>(
        &self,
        action: &'static str,
        script: &Script,
        give: impl FnOnce(&mut Cmd),
    ) -> Result<T, CeleryError> {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&script.hash);
        give(&mut command);
        match self.command(action, &command).await {
            Err(CeleryError::Command { source, .. }) if source.code() == Some("NOSCRIPT") => {
                // A server that was started anew, or another one, does not know it.
                self.command::<()>(action, redis::cmd("SCRIPT").arg("LOAD").arg(script.text))
                    .await?;
                self.command(action, &command).await
            }
            answer => answer,
        }
    }
}
