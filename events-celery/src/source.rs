//! Where a Redis is to be found, and how one gets in.

#[cfg(feature = "sentinel")]
mod sentinel;
#[cfg(feature = "tls")]
mod tls;

use std::fmt;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use redis::aio::{MultiplexedConnection, PubSub};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo,
};
use tokio::time::timeout;

use crate::address::{Address, Place, Purpose, Remedy};
use crate::error::{CeleryError, NoConnection};

#[cfg(feature = "sentinel")]
pub(crate) use self::sentinel::Sentinels;
#[cfg(feature = "tls")]
pub(crate) use self::tls::Certificates;

/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);

const NO_SUCH_ADDRESS: Remedy = Remedy::Borrowed(
    "this machine cannot connect to such an address; if it is that of a Unix socket, give host and port: `redis://host:6379/0`",
);

/// What a URL does not say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Access {
    #[cfg(feature = "tls")]
    pub(crate) certificates: Certificates,
    #[cfg(feature = "sentinel")]
    pub(crate) sentinels: Sentinels,
}

/// A Redis that can be connected to.
#[derive(Clone)]
pub(crate) struct Source {
    place: Place,
    /// For messages: without user and password, with the database.
    name: String,
    database: i64,
    tls: bool,
    clients: Clients,
}

#[derive(Clone)]
enum Clients {
    /// At one address.
    One(Box<Client>),
    /// Where the sentinels say.
    #[cfg(feature = "sentinel")]
    OfMaster(sentinel::Master),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Source {
    /// The Redis at this URL, with TLS also where the URL does not ask for it.
    ///
    /// # Errors
    /// The URL or a certificate cannot be used.
    pub(crate) fn at(
        url: &str,
        purpose: Purpose,
        tls: bool,
        access: &Access,
    ) -> Result<Self, CeleryError> {
        let unusable = |remedy| CeleryError::Url { of: purpose.redis(), remedy };
        let address = Address::parse(url, purpose).map_err(unusable)?;
        let Address { place, login, tls: says_tls } = address;
        let (tls, database) = (tls || says_tls, login.db());
        let opened = |address| one(address, login.clone(), access, purpose);
        let (name, clients) = match &place {
            Place::Host(host, port) => {
                let client = opened(tcp(host.clone(), *port, tls))?;
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                (format!("{host}:{port}/{database}"), client)
            }
            Place::Socket(_) if tls => {
                let remedy = "there is no TLS through a Unix socket; leave out `tls(true)`";
                return Err(unusable(remedy.into()));
            }
            Place::Socket(path) => {
                let client = opened(ConnectionAddr::Unix(path.into()))?;
                (format!("{path}?virtual_host={database}"), client)
            }
            #[cfg(feature = "sentinel")]
            Place::Sentinels(addresses) => {
                let master = access.sentinels.master_name().map_err(unusable)?;
                let found = sentinel::Master::new(addresses, master, &login, tls, access)?;
                (format!("the sentinels' master `{master}`/{database}"), Clients::OfMaster(found))
            }
        };
        Ok(Self { place, name, database, tls, clients })
    }

    pub(crate) fn database(&self) -> i64 {
        self.database
    }

    /// For messages: without user and password, with the database.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is spoken to with TLS.
    #[cfg(feature = "tls")]
    pub(crate) fn is_encrypted(&self) -> bool {
        self.tls
    }

    /// Whether TLS is spoken with its sentinels.
    #[cfg(feature = "tls")]
    pub(crate) fn is_asked_for_with_tls(&self) -> bool {
        match &self.clients {
            Clients::One(_) => false,
            #[cfg(feature = "sentinel")]
            Clients::OfMaster(master) => master.is_asked_with_tls(),
        }
    }

    /// Host, port, and whether it speaks TLS, as fleets are told; of sentinels the first, as Celery does.
    pub(crate) fn endpoint(&self) -> (&str, Option<u16>, bool) {
        let (host, port) = match &self.place {
            Place::Host(host, port) => (&**host, Some(*port)),
            Place::Socket(path) => (&**path, None),
            #[cfg(feature = "sentinel")]
            Place::Sentinels(sentinels) => {
                sentinels.first().map_or((&*self.name, None), |(host, port)| (host, Some(*port)))
            }
        };
        (host, port, self.tls)
    }

    #[cfg_attr(
        not(feature = "sentinel"),
        expect(clippy::unused_async, reason = "sentinels have to be asked")
    )]
    async fn client(&self) -> Result<Client, redis::RedisError> {
        #[cfg(feature = "tls")]
        if self.tls {
            tls::choose_cryptography();
        }
        match &self.clients {
            Clients::One(client) => Ok(Client::clone(client)),
            #[cfg(feature = "sentinel")]
            Clients::OfMaster(master) => master.client().await,
        }
    }

    /// A connection whose commands are answered within `response`, or whenever they are.
    pub(crate) async fn connect(
        &self,
        response: Option<Duration>,
    ) -> Result<MultiplexedConnection, NoConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(response);
        let connecting = async {
            let client = self.client().await?;
            client.get_multiplexed_async_connection_with_config(&config).await
        };
        self.in_time(connecting.boxed()).await
    }

    /// A connection that listens to channels.
    pub(crate) async fn subscribe(&self) -> Result<PubSub, NoConnection> {
        let connecting = async { self.client().await?.get_async_pubsub().await };
        self.in_time(connecting.boxed()).await
    }

    /// Gives up a connection that is not made in time.
    ///
    /// It is boxed, because the driver's futures are so deep that those around them, down to the program's
    /// `main`, would reach the compiler's recursion limit.
    async fn in_time<T>(
        &self,
        connecting: BoxFuture<'_, Result<T, redis::RedisError>>,
    ) -> Result<T, NoConnection> {
        match timeout(CONNECT * 2, connecting).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(NoConnection::failed(&self.name, error)),
            Err(_) => Err(NoConnection::silent(&self.name, CONNECT * 2)),
        }
    }
}

fn tcp(host: String, port: u16, tls: bool) -> ConnectionAddr {
    match tls {
        true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        false => ConnectionAddr::Tcp(host, port),
    }
}

fn one(
    address: ConnectionAddr,
    login: RedisConnectionInfo,
    access: &Access,
    purpose: Purpose,
) -> Result<Clients, CeleryError> {
    let unusable = |_| CeleryError::Url { of: purpose.redis(), remedy: NO_SUCH_ADDRESS };
    let info = address.into_connection_info().map_err(unusable)?.set_redis_settings(login);
    #[cfg(feature = "tls")]
    if let ConnectionAddr::TcpTls { .. } = info.addr()
        && let Some(pem) = access.certificates.pem()?
    {
        let client = Client::build_with_tls(info, pem).map_err(CeleryError::certificate)?;
        return Ok(Clients::One(Box::new(client)));
    }
    #[cfg(not(feature = "tls"))]
    let Access { .. } = access;
    Client::open(info).map(|client| Clients::One(Box::new(client))).map_err(unusable)
}
