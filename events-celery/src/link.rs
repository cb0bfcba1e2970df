//! Connections to Redis: made when needed, thrown away when they break, made again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionInfo, FromRedisValue, Pipeline};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout};

use crate::error::{CeleryError, connect_remedy};

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
    Sentinel { client: Arc<Mutex<redis::sentinel::SentinelClient>>, master: String, database: i64 },
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address())
    }
}

impl Source {
    pub(crate) fn at(info: ConnectionInfo) -> Result<Self, CeleryError> {
        let client = Client::open(info).map_err(|source| CeleryError::Url { source })?;
        Ok(Self::Direct { client })
    }

    #[cfg(feature = "sentinel")]
    pub(crate) fn behind(
        sentinels: Vec<ConnectionInfo>,
        master: &str,
        redis: &ConnectionInfo,
    ) -> Result<Self, CeleryError> {
        use redis::sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};
        let settings = redis.redis_settings().clone();
        let database = settings.db();
        let mut node = SentinelNodeConnectionInfo::default().set_redis_connection_info(settings);
        if matches!(redis.addr(), redis::ConnectionAddr::TcpTls { .. }) {
            node = node.set_tls_mode(redis::TlsMode::Secure);
        }
        let client = SentinelClient::build(
            sentinels,
            master.to_owned(),
            Some(node),
            SentinelServerType::Master,
        )
        .map_err(|source| CeleryError::Url { source })?;
        let client = Arc::new(Mutex::new(client));
        Ok(Self::Sentinel { client, master: master.to_owned(), database })
    }

    pub(crate) fn database(&self) -> i64 {
        match self {
            Self::Direct { client } => client.get_connection_info().redis_settings().db(),
            #[cfg(feature = "sentinel")]
            Self::Sentinel { database, .. } => *database,
        }
    }

    /// For messages: without user and password.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Direct { client } => client.get_connection_info().addr().to_string(),
            #[cfg(feature = "sentinel")]
            Self::Sentinel { master, .. } => format!("the sentinels' master `{master}`"),
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
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("number", &self.number).finish_non_exhaustive()
    }
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
        let mut state = self.state.lock().await; // one connects, the others wait for it
        if let Some(connection) = &state.connection {
            return Ok((state.number, connection.clone()));
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
                Err(error)
            }
        }
    }

    async fn note(&self, number: u64, error: &redis::RedisError) {
        // A replica that was the master, or a node that lost the slot, is of no use any more either.
        let useless = error.is_io_error()
            || error.is_connection_dropped()
            || error.is_unrecoverable_error()
            || matches!(error.code(), Some("READONLY" | "MOVED"));
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
