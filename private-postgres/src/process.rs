//! The server's processes, of which the first is ours to wait for.

use std::fs::{self, OpenOptions};
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;

/// Enough to recover from a crash under load.
const PATIENCE: Duration = Duration::from_mins(2);

#[derive(Debug)]
pub(crate) struct Process {
    postmaster: Child,
    /// Every process of the server holds the other end, and none writes to it: it ends when all
    /// of them have.
    alive: ChildStdout,
}

impl Process {
    /// Starts `command`, which writes to `log`.
    pub(crate) fn start(mut command: Command, log: &Path) -> Result<Self, Error> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .map_err(Error::system("write the server's log"))?;
        let mut postmaster = command
            .process_group(0) // Ctrl-C is for the program
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(Error::system("start postgres"))?;
        let alive = postmaster.stdout.take().expect("it is a pipe");
        Ok(Self { postmaster, alive })
    }

    pub(crate) fn id(&self) -> u32 {
        self.postmaster.id()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.postmaster.try_wait(), Ok(None))
    }

    /// Waits until `lock`, the `postmaster.pid` that this process writes, says that it is ready.
    /// Whether it became so in time.
    pub(crate) fn becomes_ready(&mut self, lock: &Path) -> bool {
        let deadline = Instant::now() + PATIENCE;
        let id = self.id().to_string();
        while Instant::now() < deadline && !self.has_ended() {
            let lock = fs::read_to_string(lock).unwrap_or_default();
            // The file of a server that crashed has another number.
            if lock.lines().next() == Some(&id)
                && lock.lines().nth(7).is_some_and(|status| status.trim() == "ready")
            {
                return true;
            }
            thread::sleep(Duration::from_millis(5));
        }
        false
    }

    /// Sends the signal, as `kill` names it, and waits until every process has ended.
    pub(crate) fn end(mut self, signal: &str) -> Result<(), Error> {
        if !self.has_ended() {
            // Sessions at work notice only later that their first process was killed.
            let sessions = if signal == "KILL" { self.last_children()? } else { String::new() };
            self.send(signal, &sessions)?;
        }
        self.postmaster
            .wait()
            .and_then(|_| self.alive.read_to_end(&mut Vec::new()))
            .map(drop)
            .map_err(Error::system("wait for postgres to end"))
    }

    fn send(&self, signal: &str, others: &str) -> Result<(), Error> {
        let script = format!("kill -{signal} {} {others} 2>/dev/null", self.id());
        Command::new("sh")
            .args(["-c", &script])
            .status()
            .map(drop)
            .map_err(Error::system("start a shell to stop postgres"))
    }

    /// What Linux knows of them, after which there will be no more; empty elsewhere.
    ///
    /// The first process is stopped for it. Otherwise it could begin a session that is in no list, and
    /// that would wait for a lock in shared memory whose holder is dead, for ever. And the list is
    /// complete only while nobody leaves it (`proc(5)`).
    fn last_children(&self) -> Result<String, Error> {
        self.send("STOP", "")?;
        let process = format!("/proc/{0}/task/{0}", self.id());
        let runs = || {
            let status = fs::read_to_string(format!("{process}/stat")).unwrap_or_default();
            status.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['T', 'Z', 'X']))
        };
        while runs() {
            thread::sleep(Duration::from_millis(1));
        }
        Ok(fs::read_to_string(format!("{process}/children")).unwrap_or_default())
    }
}

impl Drop for Process {
    /// The guardian has stopped it by now, unless something ended the guardian.
    fn drop(&mut self) {
        let _ = self.postmaster.kill();
        let _ = self.postmaster.wait();
    }
}
