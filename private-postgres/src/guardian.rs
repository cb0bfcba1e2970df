//! Ends the server when this program ends, however that happens.
//!
//! A signal cannot be caught if it is `SIGKILL`, but the system always closes a dead program's
//! pipes. So a shell waits at the other end of one.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::error::Error;

/// Reads the number of the process to stop, the last line counts and an empty one means none,
/// until the pipe closes; then stops it and removes the folder.
///
/// The server removes `postmaster.pid` as the last thing it does. If a dead one has left the file
/// behind, it has left a piece of shared memory too, whose number is in line 7.
const SCRIPT: &str = r#"
folder=$1 lock=$2 signal=$3
trap '' HUP INT QUIT TERM
while read -r line; do process=$line; done
if [ -n "$process" ]; then
    kill -"$signal" "$process"
    patience=600
    while [ -e "$lock" ] && kill -0 "$process" && [ "$patience" -gt 0 ]; do
        sleep 0.1
        patience=$((patience - 1))
    done
    kill -KILL "$process"
fi 2>/dev/null
if [ -e "$lock" ] && ! kill -0 "$(head -n 1 "$lock")"; then
    ipcrm -m "$(sed -n '7s/.* //p' "$lock")"
fi 2>/dev/null
rm -rf "$folder" 2>/dev/null || { sleep 1; rm -rf "$folder"; }
"#;

#[derive(Debug)]
pub(crate) struct Guardian(Child);

impl Guardian {
    /// Watches over `folder`; `lock` is the `postmaster.pid` of the server that will be in it, and
    /// `signal` what stops that.
    ///
    /// The guardian keeps this program's standard error: who reads that to its end knows that the
    /// server is gone.
    pub(crate) fn start(folder: &Path, lock: &Path, signal: &str) -> Result<Self, Error> {
        Command::new("sh")
            .args(["-c", SCRIPT, "private-postgres-guardian"])
            .args([folder, lock])
            .arg(signal)
            .current_dir("/")
            .process_group(0) // Ctrl-C is for the program
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map(Self)
            .map_err(Error::system("start a shell"))
    }

    /// From now on `process` is what is stopped at the end.
    pub(crate) fn watch(&mut self, process: Option<u32>) -> Result<(), Error> {
        let line = process.map_or_else(String::new, |process| process.to_string());
        let pipe = self.0.stdin.as_mut().expect("the pipe is open until the guardian is dropped");
        writeln!(pipe, "{line}").map_err(Error::system("reach the shell that guards the server"))
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        let _ = self.0.wait(); // closes the pipe first
    }
}
