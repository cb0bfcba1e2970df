use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::binaries::Binaries;
use crate::error::Error;

/// A database of a [`Server`](crate::Server), empty at first.
///
/// Its number is not handed out again while the server's value lives.
#[derive(Clone, Debug)]
pub struct Database {
    pub(crate) binaries: Binaries,
    pub(crate) port: u16,
    pub(crate) number: u32,
    pub(crate) password: Option<String>,
    pub(crate) authority: Option<PathBuf>,
}

impl Database {
    /// Its number on the server.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The port of 127.0.0.1 that the server listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate of the authority that clients must trust, if the server speaks TLS.
    #[must_use]
    pub fn certificate_authority(&self) -> Option<&Path> {
        self.authority.as_deref()
    }

    /// Where to connect, as the user `default`: `redis://127.0.0.1:PORT/NUMBER`, with the password if
    /// there is one, and `rediss://` if the server speaks TLS. It stays valid when the server is
    /// started again.
    #[must_use]
    pub fn url(&self) -> String {
        match &self.password {
            Some(password) => self.url_as("default", password),
            None => self.url_with(""),
        }
    }

    /// Where to connect as another user.
    #[must_use]
    pub fn url_as(&self, user: &str, password: &str) -> String {
        self.url_with(&format!("{user}:{password}@"))
    }

    fn url_with(&self, credentials: &str) -> String {
        let scheme = if self.authority.is_some() { "rediss" } else { "redis" };
        format!("{scheme}://{credentials}127.0.0.1:{}/{}", self.port, self.number)
    }

    /// Runs `redis-cli` with these arguments, as the user `default`: what it writes, without the
    /// line's end.
    ///
    /// # Errors
    /// Returns [`Error::Program`] if the server refuses or cannot be reached.
    pub fn cli(&self, arguments: &[&str]) -> Result<String, Error> {
        let mut command = Command::new(self.binaries.cli());
        command
            .args(["-e", "-h", "127.0.0.1"]) // -e: an error is a failure of the program
            .args(["-p", &self.port.to_string(), "-n", &self.number.to_string()])
            .env_remove("REDISCLI_AUTH")
            .stdin(Stdio::null());
        if let Some(password) = &self.password {
            command.env("REDISCLI_AUTH", password);
        }
        if let Some(authority) = &self.authority {
            command.arg("--tls").arg("--cacert").arg(authority);
        }
        let output = command.args(arguments).output().map_err(Error::system("run redis-cli"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        let output = format!("{}{}", text(&output.stdout), text(&output.stderr));
        Err(Error::Program { name: "redis-cli", output })
    }
}
