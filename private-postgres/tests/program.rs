//! The program, which is also what shows that a server ends with the process that started it.

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_private-postgres"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The first line that the program writes: the URL of its database.
fn url(program: &mut Child) -> String {
    let mut line = String::new();
    let output = program.stdout.as_mut().expect("it is a pipe");
    BufReader::new(output).read_line(&mut line).expect("the program writes text");
    line.trim_end().to_owned()
}

/// The folder of the server with this URL.
fn folder(url: &str) -> String {
    let host = url.strip_prefix("postgresql://postgres@").and_then(|rest| rest.split(':').next());
    host.expect("a host")
        .replace("%2F", "/")
        .replace("%2D", "-")
        .replace("%2E", ".")
        .replace("%5F", "_")
}

/// Whether the process is there and has not ended; somebody may not have waited for it yet.
fn runs(process: &str) -> bool {
    if cfg!(target_os = "linux") {
        fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|arguments| !arguments.is_empty())
    } else {
        Command::new("kill").args(["-0", process]).status().expect("kill runs").success()
    }
}

/// Whether `initdb` has begun in a server's folder in `parent`.
fn is_at_work_in(parent: &Path) -> bool {
    let folder = fs::read_dir(parent).ok().and_then(|mut folders| folders.next()?.ok());
    folder.is_some_and(|folder| folder.path().join("data/base").exists())
}

#[test]
fn killed_process_leaves_no_server_and_no_folder() {
    let mut program = program().spawn().unwrap();
    let folder = folder(&url(&mut program));
    let lock = fs::read_to_string(Path::new(&folder).join("data/postmaster.pid")).unwrap();
    let server = lock.lines().next().unwrap();
    assert!(runs(server));

    program.kill().unwrap(); // SIGKILL
    assert_eq!(program.wait().unwrap().signal(), Some(9));
    // The guardian holds the other end until its work is done.
    let mut complaints = String::new();
    program.stderr.take().unwrap().read_to_string(&mut complaints).unwrap();

    assert_eq!(complaints, "");
    assert!(!Path::new(&folder).exists());
    assert!(!runs(server));
}

#[test]
fn process_killed_while_it_starts_leaves_no_folder() {
    let parent = tempfile::Builder::new().prefix("p-").tempdir().unwrap();
    // Whoever runs the server must be able to come in.
    fs::set_permissions(parent.path(), Permissions::from_mode(0o755)).unwrap();
    let mut program = program().env("TMPDIR", parent.path()).spawn().unwrap();
    while !is_at_work_in(parent.path()) {
        assert!(program.try_wait().unwrap().is_none());
    }
    program.kill().unwrap();
    program.wait().unwrap();
    let mut complaints = String::new();
    program.stderr.take().unwrap().read_to_string(&mut complaints).unwrap();
    assert!(fs::read_dir(parent.path()).unwrap().next().is_none(), "{complaints}");
}

#[test]
fn program_ends_when_its_input_does() {
    let mut program = program().spawn().unwrap();
    let folder = folder(&url(&mut program));
    drop(program.stdin.take());
    assert!(program.wait().unwrap().success());
    assert!(!Path::new(&folder).exists());
}

#[test]
fn command_has_a_database_and_its_status_is_handed_on() {
    let output = program().args(["sh", "-c", "echo \"$DATABASE_URL\"; exit 7"]).output().unwrap();
    assert_eq!(output.status.code(), Some(7));
    let url = String::from_utf8(output.stdout).unwrap();
    assert!(!Path::new(&folder(url.trim_end())).exists());
}

#[test]
fn missing_binaries_are_an_error_that_names_the_remedy() {
    let output = program().env("POSTGRES_BIN", "/nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    for part in ["apt-get install postgresql", "dnf install", "brew", "POSTGRES_BIN", "/nowhere"] {
        assert!(text.contains(part), "{text}");
    }
}
