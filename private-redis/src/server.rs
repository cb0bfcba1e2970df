use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::certificates::Certificates;
use crate::database::Database;
use crate::error::{Error, fail};
use crate::process::Redis;
use crate::settings::Settings;

/// A Redis server of this program's own.
///
/// When this value is dropped, or the program ends in any way, the server is killed and its folder
/// removed.
#[derive(Debug)]
pub struct Server {
    redis: Mutex<Redis>,
    /// Number 0, which nobody is handed.
    first: Database,
    databases: AtomicU32,
}

impl Server {
    /// Starts a server and waits until it accepts connections.
    ///
    /// # Errors
    /// Returns [`Error`] if Redis is not installed, cannot be run, or does not come up with these
    /// settings. Nothing is left behind then.
    pub fn start(settings: Settings) -> Result<Self, Error> {
        let mut redis = Redis::prepare(&[])?;
        let port = redis.port.number();
        let certificates = settings.tls.then(|| Certificates::make(&redis.folder)).transpose()?;
        let mut lines = match &certificates {
            None => vec![format!("port {port}")],
            Some(made) => vec![
                format!("port 0\ntls-port {port}\ntls-auth-clients no\ntls-replication yes"),
                format!("tls-ca-cert-file \"{}\"", made.authority.display()),
                format!("tls-cert-file \"{}\"", made.certificate.display()),
                format!("tls-key-file \"{}\"", made.key.display()),
            ],
        };
        lines.extend(settings.lines());
        redis.configure(&lines)?;
        redis.start()?;
        let first = Database {
            binaries: redis.binaries.clone(),
            port,
            number: 0,
            password: settings.password,
            authority: certificates.map(|made| made.authority),
        };
        Ok(Self { redis: Mutex::new(redis), first, databases: AtomicU32::new(0) })
    }

    /// The one server of this program, with default [`Settings`]: started by the first call, ended
    /// when the program is. Every test takes a database of it; none may stop it.
    ///
    /// # Panics
    /// Panics if it cannot be started, with what [`start`](Self::start) says.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(Settings::default()).unwrap_or_else(|error| fail(&error)))
    }

    /// A database that nobody else is handed. There are 4095, unless the settings say otherwise.
    pub fn database(&self) -> Database {
        let number = self.databases.fetch_add(1, Ordering::Relaxed) + 1;
        Database { number, ..self.first.clone() }
    }

    /// Where to connect: database 0, as the user `default`. See [`Database::url`].
    pub fn url(&self) -> String {
        self.first.url()
    }

    /// The port of 127.0.0.1 that it listens on, also after it was started again.
    pub fn port(&self) -> u16 {
        self.first.port
    }

    /// The certificate of the authority that clients must trust, if the server speaks TLS.
    pub fn certificate_authority(&self) -> Option<&Path> {
        self.first.certificate_authority()
    }

    /// Runs `redis-cli` with these arguments, in database 0. See [`Database::cli`].
    ///
    /// # Errors
    /// Returns [`Error::Program`] if the server refuses or cannot be reached.
    pub fn cli(&self, arguments: &[&str]) -> Result<String, Error> {
        self.first.cli(arguments)
    }

    /// The number of the server's process; `None` while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.redis().running().map(|process| process.id())
    }

    /// What the server has logged since it was made.
    pub fn log(&self) -> String {
        self.redis().log()
    }

    /// Kills the server and waits until it is dead: a crash. What survives is for
    /// [`append_only_file`](Settings::append_only_file) to say.
    ///
    /// # Errors
    /// Returns [`Error::WrongState`] if it is stopped already.
    pub fn kill(&self) -> Result<(), Error> {
        self.redis().kill()
    }

    /// Asks the server to stop and waits until it has.
    ///
    /// # Errors
    /// Returns [`Error::WrongState`] if it is stopped already.
    pub fn stop(&self) -> Result<(), Error> {
        self.redis().stop()
    }

    /// Starts a server that was stopped or killed, on the same data and at the same address, and
    /// waits until it accepts connections.
    ///
    /// # Errors
    /// Returns [`Error::WrongState`] if it is running and [`Error::NotReady`] if it does not come up.
    pub fn start_again(&self) -> Result<(), Error> {
        self.redis().start()
    }

    /// Makes it stand still, connections and all, until [`resume`](Self::resume).
    ///
    /// # Errors
    /// Returns [`Error::WrongState`] if it is stopped.
    pub fn suspend(&self) -> Result<(), Error> {
        self.redis().signal("STOP")
    }

    /// Lets a suspended server go on.
    ///
    /// # Errors
    /// Returns [`Error::WrongState`] if it is stopped.
    pub fn resume(&self) -> Result<(), Error> {
        self.redis().signal("CONT")
    }

    fn redis(&self) -> MutexGuard<'_, Redis> {
        self.redis.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
