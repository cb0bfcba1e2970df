//! Where the Python environments are, and how a program of one is called.

use std::env;
use std::path::{Path, PathBuf};

/// Which Celery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// Celery 5.7.0 with kombu 5.7.0 and redis-py 8.1.0; Flower too.
    Newest,
    /// Celery 5.3.6 with kombu 5.3.7 and redis-py 4.6.0.
    Old,
}

impl Version {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Newest, Self::Old];

    fn folder(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Old => "old",
        }
    }
}

/// Where `fleet.py` and the programs are.
pub(crate) fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python")
}

/// The interpreter of the environment.
pub(crate) fn python(version: Version) -> PathBuf {
    let candidates: Vec<PathBuf> = match env::var_os("CELERY_HOME") {
        Some(home) => vec![home.into()],
        // This program is somewhere in cargo's target directory, where `install` puts them.
        None => env::current_exe()
            .iter()
            .flat_map(|program| program.ancestors().skip(1))
            .map(|folder| folder.join("celery"))
            .collect(),
    };
    let environments = candidates.iter().map(|home| home.join(version.folder()));
    // The installation writes this file last.
    match environments.clone().find(|environment| environment.join("made-of").is_file()) {
        Some(environment) => environment.join("bin/python"),
        None => panic!(
            "a Python environment with Celery is missing; make it with 'celery-fleet/python/install', \
             which needs python3 and a minute, or leave these tests out with \
             'cargo test -- --skip python::'; searched: {}",
            environments.map(|each| each.display().to_string()).collect::<Vec<_>>().join(" ")
        ),
    }
}
