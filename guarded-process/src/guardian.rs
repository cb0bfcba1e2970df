//! Ends the processes when this program ends, however that happens.
//!
//! A signal cannot be caught if it is `SIGKILL`, but the system always closes a dead program's
//! pipes. So a shell waits at the other end of one.

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;

use crate::process::Process;

/// Reads numbers of process groups until the pipe closes; one with a minus has ended. Then kills the
/// groups that are left and removes the folder.
///
/// A killed process is there until somebody has waited for it, which in a container may be never.
const SCRIPT: &str = r#"
folder=$1
trap '' HUP INT QUIT TERM
groups=
while read -r line; do
    case $line in
    -*)
        left=
        for group in $groups; do [ "-$group" = "$line" ] || left="$left $group"; done
        groups=$left
        ;;
    *) groups="$groups $line" ;;
    esac
done
for group in $groups; do kill -s KILL -- "-$group"; done 2>/dev/null
patience=40
for group in $groups; do
    while kill -s 0 -- "-$group" && [ "$patience" -gt 0 ]; do
        sleep 0.05
        patience=$((patience - 1))
    done
done 2>/dev/null
[ -z "$folder" ] || rm -rf "$folder" 2>/dev/null || { sleep 1; rm -rf "$folder"; }
"#;

/// Tells the guardian its number and becomes the program. So there is no moment at which the program
/// runs and the guardian does not know it.
const WRAPPER: &str = r#"echo "$$" >&0 && exec "$@" </dev/null"#;

/// Ends processes, and removes a folder, when this program ends in any way, or when this value and
/// all its processes are dropped.
///
/// It keeps this program's standard error: who reads that to its end knows that all is done.
#[derive(Clone, Debug)]
pub struct Guardian(Arc<Shell>);

#[derive(Debug)]
struct Shell(Child);

impl Guardian {
    /// Starts a guardian, which removes `folder` as the last thing it does.
    ///
    /// # Errors
    /// Returns what the system answered if a shell cannot be started.
    pub fn start(folder: Option<&Path>) -> io::Result<Self> {
        Command::new("sh")
            .args(["-c", SCRIPT, "guardian"])
            .args(folder)
            .current_dir("/")
            .process_group(0) // Ctrl-C is for the program
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map(|shell| Self(Arc::new(Shell(shell))))
    }

    /// The command that runs `program` under this guardian once it is given to
    /// [`spawn`](Self::spawn). Its standard input is taken; arguments, environment, folder and output
    /// are the caller's to set.
    ///
    /// # Errors
    /// Returns what the system answered if there are too many open files.
    pub fn command(&self, program: impl AsRef<OsStr>) -> io::Result<Command> {
        let mut command = Command::new("sh");
        command
            .args(["-c", WRAPPER, "guarded"])
            .arg(program)
            .process_group(0) // Ctrl-C is for the program
            .stdin(self.pipe().as_fd().try_clone_to_owned()?);
        Ok(command)
    }

    /// Starts what [`command`](Self::command) has made.
    ///
    /// # Errors
    /// Returns what the system answered. That the program is not there is seen only by its end, with
    /// status 127.
    pub fn spawn(&self, mut command: Command) -> io::Result<Process> {
        Ok(Process::new(command.spawn()?, self.clone()))
    }

    /// The group with this number has ended.
    pub(crate) fn forget(&self, group: u32) {
        // One write, so that it is not mixed with those of others. Somebody may have ended the guardian.
        let _ = self.pipe().write_all(format!("-{group}\n").as_bytes());
    }

    fn pipe(&self) -> &ChildStdin {
        self.0.0.stdin.as_ref().expect("the pipe is open until the guardian is dropped")
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.0.wait(); // closes the pipe first
    }
}
