use std::path::PathBuf;

/// How a [`Server`](crate::Server) is to be.
///
/// ```
/// # use private_postgres::Settings;
/// let settings = Settings { durable: true, ..Settings::default() }.set("max_connections", "500");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Whether a commit is on disk when it returns, as PostgreSQL does it unless told otherwise.
    /// By default it is not, which is faster: a crash may then lose commits or the whole data.
    pub durable: bool,
    /// Where the data is, for longer than the server: made if it is not there, used again if it is.
    /// By default it is in a temporary folder and goes with the server.
    pub data_directory: Option<PathBuf>,
    /// More of `postgresql.conf`, as names and values. They win over what is set here.
    pub configuration: Vec<(String, String)>,
}

impl Settings {
    /// Adds a line of `postgresql.conf`.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.configuration.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The arguments of `postgres`: of two that name the same, the later one counts.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let fast = ["fsync=off", "synchronous_commit=off", "full_page_writes=off"];
        let chosen = self.configuration.iter().map(|(name, value)| format!("{name}={value}"));
        ["max_connections=200".to_owned()] // every test of a program has its connections
            .into_iter()
            .chain(fast.into_iter().filter(|_| !self.durable).map(str::to_owned))
            .chain(chosen)
            .flat_map(|setting| ["-c".to_owned(), setting])
            .collect()
    }
}
