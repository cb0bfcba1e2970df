//! Where Redis's programs are.

use std::env;
use std::path::PathBuf;

use crate::error::Error;

const NEEDED: [&str; 2] = ["redis-server", "redis-cli"];

/// A folder with both programs that are needed, of one version.
#[derive(Clone, Debug)]
pub(crate) struct Binaries(PathBuf);

impl Binaries {
    pub(crate) fn find() -> Result<Self, Error> {
        let candidates = match env::var_os("REDIS_BIN") {
            Some(folder) => vec![folder.into()],
            None => env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect(),
        };
        candidates
            .iter()
            .find(|folder| NEEDED.iter().all(|name| folder.join(name).is_file()))
            .map(|folder| Self(folder.clone()))
            .ok_or(Error::BinariesNotFound { searched: candidates })
    }

    pub(crate) fn server(&self) -> PathBuf {
        self.0.join("redis-server")
    }

    pub(crate) fn cli(&self) -> PathBuf {
        self.0.join("redis-cli")
    }
}
