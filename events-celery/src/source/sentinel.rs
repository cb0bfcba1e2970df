//! The Redis that sentinels call the master.

use std::fmt;
use std::sync::Arc;

use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{Client, RedisConnectionInfo, RedisError};
use tokio::sync::Mutex;

use super::{Access, tcp};
use crate::address::Remedy;
use crate::error::CeleryError;

/// How sentinels are asked, and for whom.
#[derive(Clone, Default)]
pub(crate) struct Sentinels {
    pub(crate) master_name: Option<String>,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    /// Whether they speak TLS themselves.
    pub(crate) tls: bool,
}

impl fmt::Debug for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sentinels")
            .field("master_name", &self.master_name)
            .field("username", &self.username)
            .field("password_is_given", &self.password.is_some())
            .field("tls", &self.tls)
            .finish()
    }
}

impl Sentinels {
    pub(super) fn master_name(&self) -> Result<&str, Remedy> {
        self.master_name.as_deref().ok_or(Remedy::Borrowed(
            "`sentinel://` needs the name by which the sentinels know the Redis; give it to `master_name`, as it is in Celery's `broker_transport_options`",
        ))
    }
}

#[derive(Clone)]
pub(super) struct Master {
    client: Arc<Mutex<SentinelClient>>,
    #[cfg(feature = "tls")]
    sentinels_tls: bool,
}

impl Master {
    pub(super) fn new(
        addresses: &[(String, u16)],
        master: &str,
        login: &RedisConnectionInfo,
        tls: bool,
        access: &Access,
    ) -> Result<Self, CeleryError> {
        let client = build(addresses, master, login, tls, access)?;
        Ok(Self {
            client: Arc::new(Mutex::new(client)),
            #[cfg(feature = "tls")]
            sentinels_tls: access.sentinels.tls,
        })
    }

    #[cfg(feature = "tls")]
    pub(super) fn is_asked_with_tls(&self) -> bool {
        self.sentinels_tls
    }

    /// For the server that is the master now.
    pub(super) async fn client(&self) -> Result<Client, RedisError> {
        #[cfg(feature = "tls")]
        if self.sentinels_tls {
            super::tls::choose_cryptography();
        }
        self.client.lock().await.async_get_client().await
    }
}

fn build(
    addresses: &[(String, u16)],
    master: &str,
    login: &RedisConnectionInfo,
    tls: bool,
    access: &Access,
) -> Result<SentinelClient, CeleryError> {
    let sentinels = &access.sentinels;
    let addresses = addresses.iter().map(|(host, port)| tcp(host.clone(), *port, sentinels.tls));
    let mut client = SentinelClientBuilder::new(addresses, master, SentinelServerType::Master)
        .map_err(CeleryError::certificate)?
        .set_client_to_redis_db(login.db());
    if let Some(username) = login.username() {
        client = client.set_client_to_redis_username(username);
    }
    if let Some(password) = login.password() {
        client = client.set_client_to_redis_password(password);
    }
    if let Some(username) = &sentinels.username {
        client = client.set_client_to_sentinel_username(username);
    }
    if let Some(password) = &sentinels.password {
        client = client.set_client_to_sentinel_password(password);
    }
    if tls {
        client = client.set_client_to_redis_tls_mode(redis::TlsMode::Secure);
    }
    #[cfg(feature = "tls")]
    if let Some(pem) = access.certificates.pem()? {
        if tls {
            client = client.set_client_to_redis_certificates(pem.clone());
        }
        if sentinels.tls {
            client = client.set_client_to_sentinel_certificates(pem);
        }
    }
    client.build().map_err(CeleryError::certificate)
}
