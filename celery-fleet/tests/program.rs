//! This test program again, as one that is killed and as one without Python.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

use celery_fleet::{Fleet, Version};

/// The test of this name, alone, in a program of its own.
fn program(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("it has a path"));
    command.args(["--exact", test, "--nocapture"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn missing_python_is_a_panic_that_names_the_remedy() {
    let name = "program::missing_python_is_a_panic_that_names_the_remedy";
    if std::env::var("CELERY_HOME").as_deref() == Ok("/nowhere") {
        let _ = Fleet::python(Version::Newest, "redis://127.0.0.1:1/0");
        return;
    }
    let output = program(name).env("CELERY_HOME", "/nowhere").output().unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    for part in ["celery-fleet/python/install", "--skip python::", "/nowhere"] {
        assert!(text.contains(part), "{text}");
    }
}

mod python {
    use celery_fleet::WorkerSettings;
    use private_redis::{Server, Settings};

    use super::*;

    #[test]
    fn killed_program_leaves_no_worker_no_server_and_no_folder() {
        const INNER: &str = "CELERY_FLEET_TEST_INNER";
        let name = "program::python::killed_program_leaves_no_worker_no_server_and_no_folder";
        let folder = tempfile::tempdir().unwrap();
        if std::env::var_os(INNER).is_some() {
            let server = Server::start(Settings::default()).unwrap();
            let fleet = Fleet::python(Version::Newest, &server.url());
            let worker = fleet.worker(&WorkerSettings::of("shop"));
            let [server, worker] = [server.pid().unwrap(), worker.pid()];
            // The harness writes to standard output itself.
            std::fs::write(std::env::temp_dir().join("pids"), format!("{server} {worker}"))
                .unwrap();
            assert!(
                Command::new("sh").args(["-c", "echo; echo ready"]).status().unwrap().success()
            );
            std::thread::park();
        }
        let mut program =
            program(name).env(INNER, "1").env("TMPDIR", folder.path()).spawn().unwrap();
        let output = BufReader::new(program.stdout.take().unwrap());
        assert!(output.lines().map(Result::unwrap).any(|line| line == "ready"));
        let pids = std::fs::read_to_string(folder.path().join("pids")).unwrap();
        assert!(pids.split(' ').all(runs));

        program.kill().unwrap(); // SIGKILL
        program.wait().unwrap();
        // The guardians hold the other end until their work is done.
        program.stderr.take().unwrap().read_to_string(&mut String::new()).unwrap();

        assert!(!pids.split(' ').any(runs));
        let mut left: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("redis-") || name.starts_with("fleet-"))
            .collect();
        left.sort();
        assert_eq!(left, [""; 0]);
    }

    /// Whether the process is there and has not ended; somebody may not have waited for it yet.
    fn runs(process: &str) -> bool {
        if cfg!(target_os = "linux") {
            std::fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|line| !line.is_empty())
        } else {
            Command::new("kill").args(["-0", process]).status().expect("kill runs").success()
        }
    }
}
