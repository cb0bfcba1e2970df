//! Certificates, and the cryptography behind them.

use std::fmt;

use redis::{ClientTlsConfig, ErrorKind, RedisError, TlsCertificates};

use crate::error::CeleryError;

/// Certificates and a key, in PEM.
#[derive(Clone, Default)]
pub(crate) struct Certificates {
    pub(crate) root: Option<Vec<u8>>,
    /// The certificate and its key.
    pub(crate) client: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Long, and a key is nobody's business.
        f.debug_struct("Certificates")
            .field("root_is_given", &self.root.is_some())
            .field("client_is_given", &self.client.is_some())
            .finish()
    }
}

impl Certificates {
    pub(crate) fn are_given(&self) -> bool {
        self.root.is_some() || self.client.is_some()
    }

    /// What was given, if anything was.
    pub(super) fn pem(&self) -> Result<Option<TlsCertificates>, CeleryError> {
        let certificates = self.root.iter().chain(self.client.iter().map(|(chain, _)| chain));
        for pem in certificates {
            // What holds none would be taken for a list of no authorities.
            if !String::from_utf8_lossy(pem).contains("-----BEGIN CERTIFICATE-----") {
                let none = (ErrorKind::InvalidClientConfig, "it holds no certificate");
                return Err(CeleryError::certificate(RedisError::from(none)));
            }
        }
        let client_tls = self.client.clone();
        let client_tls =
            client_tls.map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
        let given = TlsCertificates { client_tls, root_cert: self.root.clone() };
        Ok(self.are_given().then_some(given))
    }
}

/// rustls panics if nobody says which cryptography is meant and several are compiled into the program.
pub(super) fn choose_cryptography() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error is that of somebody else who was faster.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}
