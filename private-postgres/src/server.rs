use std::env;
use std::fs::{self, DirBuilder};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{self, Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tempfile::TempDir;

use crate::account::Account;
use crate::binaries::Binaries;
use crate::client::{Client, PORT, USER};
use crate::database::Database;
use crate::error::Error;
use crate::guardian::Guardian;
use crate::process::Process;
use crate::settings::Settings;

/// How long a path to a socket may be, on Linux and macOS.
const LONGEST_SOCKET_PATH: usize = 103;

/// A PostgreSQL server of this program's own.
///
/// When this value is dropped, or the program ends in any way, the server stops and its folder is
/// removed.
#[derive(Debug)]
pub struct Server {
    client: Client,
    account: Option<Account>,
    settings: Settings,
    /// The socket, the log and, unless it is to stay, the data.
    folder: PathBuf,
    data: PathBuf,
    databases: AtomicU64,
    running: Mutex<Running>,
}

/// Dropped in this order: the guardian stops the process, which is then waited for.
#[derive(Debug)]
struct Running {
    guardian: Guardian,
    process: Option<Process>,
}

impl Running {
    /// Forgets the process if it has ended without being asked to, and says whether there is one.
    fn look(&mut self) -> Result<bool, Error> {
        if self.process.as_mut().is_some_and(Process::has_ended) {
            self.process = None;
            self.guardian.watch(None)?;
        }
        Ok(self.process.is_some())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.look(); // the guardian would wait for it
    }
}

/// How to stop a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Waits for every session to end of its own.
    Smart,
    /// Ends the sessions, rolls back what they were at.
    Fast,
    /// Leaves everything as it is; the next start recovers, as after a crash.
    Immediate,
}

impl Mode {
    fn signal(self) -> &'static str {
        match self {
            Self::Smart => "TERM",
            Self::Fast => "INT",
            Self::Immediate => "QUIT",
        }
    }
}

impl Server {
    /// Starts a server and waits until it accepts connections.
    ///
    /// # Errors
    /// Returns [`Error`] if PostgreSQL is not installed, cannot be run, or does not come up with
    /// these settings. Nothing is left behind then.
    pub fn start(settings: Settings) -> Result<Self, Error> {
        let binaries = Binaries::find()?;
        let folder = temporary_folder()?;
        let account = Account::instead_of_root(folder.path())?;
        let data = match &settings.data_directory {
            Some(data) => path::absolute(data).map_err(Error::system("find the data directory"))?,
            None => folder.path().join("data"),
        };
        // What goes with the server need not be brought in order first.
        let end = if settings.data_directory.is_some() { Mode::Fast } else { Mode::Immediate };
        let lock = data.join("postmaster.pid");
        let guardian = Guardian::start(folder.path(), &lock, end.signal())?;
        let folder = folder.keep(); // the guardian removes it
        let server = Self {
            client: Client { binaries, socket_folder: folder.clone() },
            account,
            settings,
            folder,
            data,
            databases: AtomicU64::new(0),
            running: Mutex::new(Running { guardian, process: None }),
        };
        server.make_data_directory()?;
        server.start_again()?;
        Ok(server)
    }

    /// The one server of this program, with default [`Settings`]: started by the first call, stopped
    /// when the program ends. Every test takes a database of it; none may stop it.
    ///
    /// # Panics
    /// Panics if it cannot be started, with what [`start`](Self::start) says.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(Settings::default()).unwrap_or_else(|error| fail(&error)))
    }

    /// Makes a database of its own for whoever calls.
    ///
    /// # Panics
    /// Panics if the server cannot make one, for example because it is stopped.
    pub fn create_database(&self) -> Database {
        let number = self.databases.fetch_add(1, Ordering::Relaxed) + 1;
        // Data that outlives this program may have databases of an earlier one.
        let name = format!("database_{}_{number}", process::id());
        // Nobody connects to `template0`, so that it can always be copied.
        let sql = format!("CREATE DATABASE {name} TEMPLATE template0");
        self.psql("postgres", &sql).unwrap_or_else(|error| fail(&error));
        Database::new(self.client.clone(), name)
    }

    /// Runs SQL from outside, as a superuser: the rows as text, columns separated by `|`. Several
    /// statements are one transaction.
    ///
    /// # Errors
    /// Returns [`Error::Program`] if the server refuses the SQL or cannot be reached.
    pub fn psql(&self, database: &str, sql: &str) -> Result<String, Error> {
        self.client.psql(database, sql)
    }

    /// The number of the server's first process, the postmaster; `None` while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        let mut running = self.running();
        let _ = running.look();
        running.process.as_ref().map(Process::id)
    }

    /// Kills the server and waits until all of it is dead: a crash. What was committed survives if
    /// the server is [durable](Settings::durable).
    ///
    /// # Errors
    /// Returns [`Error::WrongState`] if it is stopped already.
    pub fn kill(&self) -> Result<(), Error> {
        self.end("KILL")
    }

    /// Stops the server and waits until all of it has ended. [`Mode::Smart`] waits for the clients.
    ///
    /// # Errors
    /// Returns [`Error::WrongState`] if it is stopped already.
    pub fn stop(&self, mode: Mode) -> Result<(), Error> {
        self.end(mode.signal())
    }

    /// Starts a server that was stopped or killed, on the same data and at the same address, and
    /// waits until it accepts connections.
    ///
    /// # Errors
    /// Returns [`Error::WrongState`] if it is running and [`Error::NotReady`] if it does not come up.
    pub fn start_again(&self) -> Result<(), Error> {
        let mut running = self.running();
        if running.look()? {
            return Err(Error::WrongState {
                remedy: "the server is running; stop or kill it first",
            });
        }
        let mut command = self.command("postgres");
        command
            .arg("-D")
            .arg(&self.data)
            .args(["-c", "listen_addresses=", "-c", &format!("port={PORT}")])
            .arg("-k")
            .arg(&self.folder)
            .args(self.settings.arguments());
        let log = self.folder.join("log");
        let mut process = Process::start(command, &log)?;
        running.guardian.watch(Some(process.id()))?;
        if process.becomes_ready(&self.data.join("postmaster.pid")) {
            running.process = Some(process);
            return Ok(());
        }
        process.end(Mode::Immediate.signal())?;
        running.guardian.watch(None)?;
        Err(Error::NotReady { log: end_of(&log) })
    }

    /// Stops the server, ending all sessions, and starts it again.
    ///
    /// # Errors
    /// As [`stop`](Self::stop) and [`start_again`](Self::start_again).
    pub fn restart(&self) -> Result<(), Error> {
        self.stop(Mode::Fast)?;
        self.start_again()
    }

    fn end(&self, signal: &str) -> Result<(), Error> {
        let mut running = self.running();
        let remedy = "the server is stopped; start it again first";
        let process = running.process.take().ok_or(Error::WrongState { remedy })?;
        process.end(signal)?;
        running.guardian.watch(None)
    }

    fn make_data_directory(&self) -> Result<(), Error> {
        let attempt = || Error::system(format!("make {}", self.data.display()));
        if let Some(parent) = self.data.parent() {
            fs::create_dir_all(parent).map_err(attempt())?;
        }
        DirBuilder::new()
            .recursive(true) // it may be there
            .mode(0o700) // PostgreSQL insists
            .create(&self.data)
            .map_err(attempt())?;
        if let Some(account) = self.account {
            account.owns(&self.folder)?;
            account.owns(&self.data)?;
        }
        if self.data.join("PG_VERSION").exists() { Ok(()) } else { self.run_initdb() }
    }

    fn run_initdb(&self) -> Result<(), Error> {
        let locale = if cfg!(target_os = "linux") { "C.UTF-8" } else { "C" };
        let initdb = self
            .command("initdb")
            .arg("-D")
            .arg(&self.data)
            .args(["--username", USER, "--auth=trust", "--encoding=UTF8", "--locale", locale])
            .arg("--no-sync")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Error::system(format!(
                "run initdb in {} (if that is closed to the user 'postgres', name another folder \
                 in TMPDIR)",
                self.folder.display()
            )))?;
        let mut running = self.running();
        running.guardian.watch(Some(initdb.id()))?;
        let output = initdb.wait_with_output().map_err(Error::system("wait for initdb"))?;
        running.guardian.watch(None)?;
        if output.status.success() {
            Ok(())
        } else {
            let output = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
            Err(Error::Program { name: "initdb", output })
        }
    }

    /// One of PostgreSQL's programs that must not run as root.
    fn command(&self, name: &str) -> Command {
        let mut command = self.client.binaries.command(name);
        command.current_dir(&self.folder); // this program's may be closed to the account
        if let Some(account) = self.account {
            account.runs(&mut command);
        }
        command
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A new folder with a path short enough for a socket in it.
fn temporary_folder() -> Result<TempDir, Error> {
    let parent = env::temp_dir();
    let socket = parent.join(format!("postgres-123456/.s.PGSQL.{PORT}"));
    let short = socket.as_os_str().as_bytes().len() <= LONGEST_SOCKET_PATH;
    let parent = if short { parent.as_path() } else { Path::new("/tmp") };
    tempfile::Builder::new()
        .prefix("postgres-")
        .tempdir_in(parent)
        .map_err(Error::system("make a temporary folder"))
}

/// The last lines of a log, enough to say why the server did not come up.
fn end_of(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

fn fail(error: &Error) -> ! {
    match std::error::Error::source(error) {
        Some(cause) => panic!("{error}: {cause}"),
        None => panic!("{error}"),
    }
}
