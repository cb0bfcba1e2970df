//! One process of Redis, server or sentinel: its port, its folder, its life.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use guarded_process::{Guardian, Process};
use tempfile::TempDir;

use crate::binaries::Binaries;
use crate::error::Error;
use crate::port::Port;

/// Enough to load an append-only file on a slow machine.
const PATIENCE: Duration = Duration::from_mins(1);
/// What both kinds of server log when they accept connections.
const READY: [&str; 2] = ["Ready to accept connections", "+monitor master"];

/// Dropped in this order: the process ends, and the guardian removes the folder.
#[derive(Debug)]
pub(crate) struct Redis {
    process: Option<Process>,
    guardian: Guardian,
    pub(crate) folder: PathBuf,
    pub(crate) port: Port,
    pub(crate) binaries: Binaries,
    arguments: &'static [&'static str],
}

impl Redis {
    /// Reserves what it needs; nothing runs yet.
    pub(crate) fn prepare(arguments: &'static [&'static str]) -> Result<Self, Error> {
        let binaries = Binaries::find()?;
        let port = Port::take()?;
        let folder: TempDir = tempfile::Builder::new()
            .prefix("redis-")
            .tempdir()
            .map_err(Error::system("make a temporary folder"))?;
        let guardian =
            Guardian::start(Some(folder.path())).map_err(Error::system("start a shell"))?;
        let folder = folder.keep(); // the guardian removes it
        Ok(Self { process: None, guardian, folder, port, binaries, arguments })
    }

    /// Writes `redis.conf`, with these lines after what is common to all.
    pub(crate) fn configure(&self, lines: &[String]) -> Result<(), Error> {
        let folder = self.folder.display();
        let common = format!("bind 127.0.0.1\ndir \"{folder}\"\nlogfile \"{folder}/log\"\n");
        fs::write(self.configuration(), format!("{common}{}\n", lines.join("\n")))
            .map_err(Error::system("write redis.conf"))
    }

    fn configuration(&self) -> PathBuf {
        self.folder.join("redis.conf")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    pub(crate) fn running(&mut self) -> Option<&mut Process> {
        if self.process.as_mut().is_some_and(Process::has_ended) {
            self.process = None;
        }
        self.process.as_mut()
    }

    pub(crate) fn start(&mut self) -> Result<(), Error> {
        if self.running().is_some() {
            return Err(Error::WrongState {
                remedy: "the server is running; stop or kill it first",
            });
        }
        let attempt = "start redis-server";
        let logged = self.log().len();
        let mut command =
            self.guardian.command(self.binaries.server()).map_err(Error::system(attempt))?;
        command
            .arg(self.configuration())
            .args(self.arguments)
            .current_dir(&self.folder)
            .stdout(refusals(&self.folder)?) // what it says of a configuration that it cannot read
            .stderr(refusals(&self.folder)?);
        let mut process = self.guardian.spawn(command).map_err(Error::system(attempt))?;
        let deadline = Instant::now() + PATIENCE;
        while !process.has_ended() && Instant::now() < deadline {
            let log = self.log();
            if READY.iter().any(|ready| log.get(logged..).is_some_and(|new| new.contains(ready))) {
                self.process = Some(process);
                return Ok(());
            }
            thread::sleep(Duration::from_millis(5));
        }
        let refusals = fs::read_to_string(self.folder.join("refusals")).unwrap_or_default();
        Err(Error::NotReady { log: end_of(&format!("{refusals}{}", self.log())) })
    }

    pub(crate) fn kill(&mut self) -> Result<(), Error> {
        self.there()?.kill().map_err(Error::system("kill the server"))?;
        self.process = None;
        Ok(())
    }

    pub(crate) fn signal(&mut self, signal: &str) -> Result<(), Error> {
        self.there()?.signal(signal).map_err(Error::system("send a signal to the server"))
    }

    pub(crate) fn stop(&mut self) -> Result<(), Error> {
        self.signal("TERM")?;
        let ended = self.process.take().is_some_and(|mut process| process.wait(PATIENCE).is_some());
        if ended { Ok(()) } else { Err(Error::NotReady { log: end_of(&self.log()) }) }
    }

    fn there(&mut self) -> Result<&mut Process, Error> {
        self.running()
            .ok_or(Error::WrongState { remedy: "the server is stopped; start it again first" })
    }
}

fn refusals(folder: &Path) -> Result<Stdio, Error> {
    fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("refusals"))
        .map(Stdio::from)
        .map_err(Error::system("write the server's log"))
}

/// The last lines of a log, enough to say why the server did not come up.
fn end_of(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
