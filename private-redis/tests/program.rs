//! The program, which is also what shows that a server ends with the process that started it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_private-redis"));
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

fn accepts_connections(url: &str) -> bool {
    let address = url.strip_prefix("redis://").and_then(|rest| rest.split('/').next());
    TcpStream::connect(address.expect("an address")).is_ok()
}

fn folders(parent: &std::path::Path) -> usize {
    std::fs::read_dir(parent).expect("it is there").count()
}

#[test]
fn killed_process_leaves_no_server_and_no_folder() {
    let parent = tempfile::tempdir().unwrap();
    let mut program = program().env("TMPDIR", parent.path()).spawn().unwrap();
    let url = url(&mut program);
    assert!(accepts_connections(&url));
    assert_eq!(folders(parent.path()), 1);

    program.kill().unwrap(); // SIGKILL
    assert_eq!(program.wait().unwrap().signal(), Some(9));
    // The guardian holds the other end until its work is done.
    let mut complaints = String::new();
    program.stderr.take().unwrap().read_to_string(&mut complaints).unwrap();

    assert_eq!(complaints, "");
    assert!(!accepts_connections(&url));
    assert_eq!(folders(parent.path()), 0);
}

#[test]
fn program_ends_when_its_input_does() {
    let mut program = program().spawn().unwrap();
    let url = url(&mut program);
    drop(program.stdin.take());
    assert!(program.wait().unwrap().success());
    assert!(!accepts_connections(&url));
}

#[test]
fn command_has_a_database_and_its_status_is_handed_on() {
    let script = "redis-cli -u \"$REDIS_URL\" PING; exit 7";
    let output = program().args(["sh", "-c", script]).output().unwrap();
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "PONG\n");
}

#[test]
fn missing_binaries_are_an_error_that_names_the_remedy() {
    let output = program().env("REDIS_BIN", "/nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    for part in ["apt-get install redis-server", "dnf install", "brew", "REDIS_BIN", "/nowhere"] {
        assert!(text.contains(part), "{text}");
    }
}
