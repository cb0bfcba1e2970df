//! Where PostgreSQL's programs are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use crate::error::Error;

const NEEDED: [&str; 3] = ["initdb", "postgres", "psql"];

/// A folder with all the programs that are needed, all of one version.
#[derive(Clone, Debug)]
pub(crate) struct Binaries(PathBuf);

impl Binaries {
    pub(crate) fn find() -> Result<Self, Error> {
        let candidates = match env::var_os("POSTGRES_BIN") {
            Some(folder) => vec![folder.into()],
            None => candidates(),
        };
        candidates
            .iter()
            .find(|folder| NEEDED.iter().all(|name| folder.join(name).is_file()))
            .map(|folder| Self(folder.clone()))
            .ok_or(Error::BinariesNotFound { searched: candidates })
    }

    /// The program with nothing in its environment that would point it elsewhere: each of them
    /// reads variables like `PGDATA`, `PGHOST` and `PGOPTIONS`.
    pub(crate) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.0.join(name));
        for (variable, _) in env::vars_os() {
            if variable.to_string_lossy().starts_with("PG") {
                command.env_remove(variable);
            }
        }
        command
    }
}

fn candidates() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // `postgres` in PATH may be a link to where the others are.
    let mut folders: Vec<PathBuf> = env::split_paths(&path)
        .filter_map(|folder| folder.join("postgres").canonicalize().ok())
        .filter_map(|postgres| postgres.parent().map(Path::to_owned))
        .collect();
    folders.extend(versions("/usr/lib/postgresql", "", "bin")); // Debian, Ubuntu
    folders.extend(versions("/usr", "pgsql-", "bin")); // postgresql.org's packages for Fedora
    for homebrew in ["/opt/homebrew/opt", "/usr/local/opt"] {
        folders.extend(versions(homebrew, "postgresql@", "bin"));
    }
    folders.extend(according_to_pg_config());
    folders
}

/// `parent/PREFIXversion/inside`, newest first.
fn versions(parent: &str, prefix: &str, inside: &str) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let version = name.to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((version, entry.path().join(inside)))
        })
        .collect();
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, folder)| folder).collect()
}

fn according_to_pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let folder = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| folder.trim().into())
}
