//! What the package promises, on real processes.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

use guarded_process::Guardian;

/// Starts a process in the background of another and prints the number of the inner one.
const FAMILY: &str = "sleep 3600 & printf '\\n%s\\n' $!; wait";

fn runs(process: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/stat"));
    if cfg!(target_os = "linux") {
        // Somebody may not have waited for it yet.
        status.is_ok_and(|status| !status.contains(") Z "))
    } else {
        Command::new("kill").args(["-0", process]).status().expect("kill runs").success()
    }
}

/// The number, on a line of its own among what the test harness says.
fn number(output: impl std::io::Read) -> String {
    BufReader::new(output)
        .lines()
        .map(|line| line.expect("it writes text"))
        .find(|line| !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit()))
        .expect("it says a number")
}

#[test]
fn killed_process_takes_along_what_it_has_started() {
    let guardian = Guardian::start(None).unwrap();
    let mut command = guardian.command("sh").unwrap();
    command.args(["-c", FAMILY]).stdout(Stdio::piped());
    let mut process = guardian.spawn(command).unwrap();
    let inner = number(process.take_stdout().unwrap());
    assert!(runs(&inner));
    process.kill().unwrap();
    assert!(!runs(&inner));
    assert!(process.has_ended());
}

/// This test program again, which starts a family and waits to be killed.
#[test]
fn program_that_is_killed_leaves_no_process_and_no_folder() {
    const FOLDER: &str = "GUARDED_PROCESS_TEST_FOLDER";
    if let Some(folder) = std::env::var_os(FOLDER) {
        let guardian = Guardian::start(Some(folder.as_ref())).unwrap();
        let mut command = guardian.command("sh").unwrap();
        command.args(["-c", FAMILY]);
        let mut process = guardian.spawn(command).unwrap();
        process.wait(std::time::Duration::from_hours(1));
        return;
    }
    let folder = std::env::temp_dir().join(format!("guarded-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let mut program = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "program_that_is_killed_leaves_no_process_and_no_folder", "--nocapture"])
        .env(FOLDER, &folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let inner = number(program.stdout.take().unwrap());
    assert!(runs(&inner));

    program.kill().unwrap(); // SIGKILL
    program.wait().unwrap();
    // The guardian holds the other end until its work is done.
    let mut complaints = String::new();
    program.stderr.take().unwrap().read_to_string(&mut complaints).unwrap();

    assert_eq!(complaints, "");
    assert!(!runs(&inner));
    assert!(!folder.exists());
}
