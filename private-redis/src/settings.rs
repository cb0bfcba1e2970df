/// How a [`Server`](crate::Server) is to be.
///
/// ```
/// # use private_redis::{AppendOnlyFile, Settings};
/// let settings = Settings { append_only_file: AppendOnlyFile::Always, ..Settings::default() }
///     .set("maxmemory", "10mb")
///     .user("worker", "secret", "~* &* +@all");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What survives when the server is killed. By default nothing does.
    pub append_only_file: AppendOnlyFile,
    /// The password of Redis's user `default`, which has none unless one is given.
    pub password: Option<String>,
    /// Whether the server speaks TLS and nothing else, with a certificate of an authority that is
    /// made for it. Needs the program `openssl`.
    pub tls: bool,
    /// More of `redis.conf`, as names and values. They win over what is set here.
    pub configuration: Vec<(String, String)>,
}

/// Whether Redis writes down every change, and when that is on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AppendOnlyFile {
    /// Nothing is written down.
    #[default]
    Off,
    /// Synchronised every second: what a power failure in between loses, a killed server keeps.
    EverySecond,
    /// Synchronised before each answer.
    Always,
}

impl Settings {
    /// Adds a line of `redis.conf`; `value` is as that file has it, quotes included.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.configuration.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a user with a password and rules of Redis's access control: `~* &* +@all` may do all,
    /// `~mine:* +@read` reads some keys.
    #[must_use]
    pub fn user(self, name: &str, password: &str, rules: &str) -> Self {
        self.set("user", &format!("{name} on >{password} {rules}"))
    }

    /// The lines of `redis.conf`: of two that name the same, the later one counts.
    pub(crate) fn lines(&self) -> Vec<String> {
        // Each test of a program takes a database; nothing but the append-only file is written.
        let mut lines = vec!["databases 4096".to_owned(), "save \"\"".to_owned()];
        lines.extend(match self.append_only_file {
            AppendOnlyFile::Off => vec!["appendonly no".to_owned()],
            AppendOnlyFile::EverySecond => {
                vec!["appendonly yes".to_owned(), "appendfsync everysec".to_owned()]
            }
            AppendOnlyFile::Always => {
                vec!["appendonly yes".to_owned(), "appendfsync always".to_owned()]
            }
        });
        if let Some(password) = &self.password {
            lines.push(format!("requirepass {password}"));
            lines.push(format!("masterauth {password}"));
        }
        lines.extend(self.configuration.iter().map(|(name, value)| format!("{name} {value}")));
        lines
    }
}
