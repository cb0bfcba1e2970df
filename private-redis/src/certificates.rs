//! A certificate authority and a certificate of it for 127.0.0.1, made by `openssl`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::Error;

const NAMES: &str = "subjectAltName = IP:127.0.0.1, DNS:localhost\n";

#[derive(Debug)]
pub(crate) struct Certificates {
    pub(crate) authority: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificates {
    pub(crate) fn make(folder: &Path) -> Result<Self, Error> {
        fs::write(folder.join("names"), NAMES)
            .map_err(Error::system("write the names of a certificate"))?;
        openssl(
            folder,
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=private-redis-authority \
             -keyout authority.key -out authority.crt",
        )?;
        openssl(
            folder,
            "req -newkey rsa:2048 -nodes -subj /CN=private-redis \
             -keyout server.key -out server.csr",
        )?;
        openssl(
            folder,
            "x509 -req -days 2 -in server.csr -CA authority.crt -CAkey authority.key \
             -CAcreateserial -extfile names -out server.crt",
        )?;
        Ok(Self {
            authority: folder.join("authority.crt"),
            certificate: folder.join("server.crt"),
            key: folder.join("server.key"),
        })
    }
}

fn openssl(folder: &Path, arguments: &str) -> Result<(), Error> {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(Error::system(
            "run openssl, which makes the certificates (on Debian 'apt-get install openssl')",
        ))?;
    if output.status.success() {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    Err(Error::Program { name: "openssl", output })
}
