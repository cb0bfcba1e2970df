use std::io;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::guardian::Guardian;

/// How long to wait for what a signal was sent to, besides the process itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// A process under a [`Guardian`], and all that it has started.
///
/// All of it is killed when this value is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    guardian: Guardian,
    status: Option<ExitStatus>,
}

impl Process {
    pub(crate) fn new(child: Child, guardian: Guardian) -> Self {
        Self { child, guardian, status: None }
    }

    /// Its number, which is that of its group too.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The end of its standard output, if the command asked for a pipe; once.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// The end of its standard error, if the command asked for a pipe; once.
    pub fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Whether it is no more.
    pub fn has_ended(&mut self) -> bool {
        if self.status.is_none()
            && let Ok(Some(status)) = self.child.try_wait()
        {
            self.ended(status);
        }
        self.status.is_some()
    }

    /// Sends the signal, as `kill` names it, to the process alone.
    ///
    /// # Errors
    /// Returns what the system answered, or that the process has ended.
    pub fn signal(&mut self, signal: &str) -> io::Result<()> {
        if self.has_ended() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the process has ended"));
        }
        send(signal, &self.id().to_string())
    }

    /// Waits until it ends of itself, for so long at the most: `None` if it has not.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        while !self.has_ended() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        self.status
    }

    /// Kills it and all that it has started with `SIGKILL`, and waits until they are dead.
    ///
    /// # Errors
    /// Returns what the system answered.
    pub fn kill(&mut self) -> io::Result<()> {
        if self.status.is_none() {
            send("KILL", &format!("-{}", self.id()))?;
            let status = self.child.wait()?;
            self.ended(status);
        }
        Ok(())
    }

    /// What it has started ends too. From here on the number may be somebody else's.
    fn ended(&mut self, status: ExitStatus) {
        let group = format!("-{}", self.id());
        let deadline = Instant::now() + PATIENCE;
        while send("KILL", &group).is_ok() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        self.guardian.forget(self.id());
        self.status = Some(status);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

fn send(signal: &str, process: &str) -> io::Result<()> {
    let status =
        Command::new("kill").args(["-s", signal, "--", process]).stderr(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("no such process")) }
}
