//! Speaks SQL to the server through `psql`.

use std::path::{Path, PathBuf};

use crate::binaries::Binaries;
use crate::error::Error;

/// Only names the socket's folder: the server listens on nothing else.
pub(crate) const PORT: u16 = 5432;
pub(crate) const USER: &str = "postgres";

#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) binaries: Binaries,
    pub(crate) socket_folder: PathBuf,
}

impl Client {
    pub(crate) fn psql(&self, database: &str, sql: &str) -> Result<String, Error> {
        let output = self
            .binaries
            .command("psql")
            .args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--no-password"])
            .args(["--set=ON_ERROR_STOP=1", "--username", USER, "--dbname", database])
            .arg("--host")
            .arg(&self.socket_folder)
            .arg(format!("--port={PORT}"))
            .args(["--command", sql])
            .env("PGCONNECT_TIMEOUT", "60") // seconds; a test may have suspended the server
            .output()
            .map_err(Error::system("run psql"))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
        } else {
            let output = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
            Err(Error::Program { name: "psql", output })
        }
    }

    /// As `sqlx` and libpq read it: a host that starts with an encoded slash is a socket's folder.
    /// The port is there because both take it from `PGPORT` otherwise.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgresql://{USER}@{}:{PORT}/{database}", encoded(&self.socket_folder))
    }
}

/// Percent-encoded, everything but letters and digits.
fn encoded(path: &Path) -> String {
    path.as_os_str()
        .as_encoded_bytes()
        .iter()
        .map(|&byte| match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
