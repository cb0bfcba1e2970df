use std::fs::{self, File};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use guarded_process::Process;

use crate::fleet::{Fleet, PATIENCE};
use crate::settings::WorkerSettings;

/// A Celery worker: a process, and its children if its pool has some.
///
/// It is killed when this value is dropped.
#[derive(Debug)]
pub struct PythonWorker {
    process: Process,
    name: String,
    log: PathBuf,
}

impl PythonWorker {
    pub(crate) fn start(fleet: &Fleet, settings: &WorkerSettings) -> Self {
        let number = fleet.next_number();
        let name = format!("python-{number}@fleet");
        let log = fleet.folder().join(format!("worker-{number}.log"));
        let ready = fleet.folder().join(format!("worker-{number}.ready"));
        let output = File::create(&log).expect("the fleet's folder is there");
        let mut configuration = fleet.configuration.clone();
        merge(&mut configuration, &settings.configuration);
        let mut command = fleet.celery(&configuration);
        command
            .args(["worker", "--hostname", &name])
            .args(["--queues", &settings.queues.join(",")])
            .args(["--pool", settings.pool.name()])
            .args(["--concurrency", &settings.concurrency.to_string()])
            .args(["--loglevel", &settings.log_level])
            .args(&settings.arguments)
            .env("FLEET_READY", &ready)
            .stdout(output.try_clone().expect("few files are open"))
            .stderr(output);
        let process = fleet.guardian.spawn(command).expect("a shell starts");
        let mut worker = Self { process, name, log };
        let deadline = Instant::now() + PATIENCE;
        while !ready.exists() {
            assert!(
                !worker.has_ended() && Instant::now() < deadline,
                "the worker did not become ready:\n{}",
                worker.log()
            );
            thread::sleep(Duration::from_millis(10));
        }
        worker
    }

    /// Its name among workers.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of its first process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Whether it is no more.
    pub fn has_ended(&mut self) -> bool {
        self.process.has_ended()
    }

    /// Kills all its processes at once with `SIGKILL`, and waits until they are dead.
    ///
    /// # Panics
    /// Panics if the system refuses.
    pub fn kill(&mut self) {
        self.process.kill().expect("the worker's processes can be killed");
    }

    /// Asks it to stop and waits until it has: it finishes what it executes and puts back what it
    /// holds. Whether it ended with success.
    ///
    /// # Panics
    /// Panics if it has ended before, or does not end.
    pub fn stop(&mut self) -> bool {
        self.signal("TERM");
        match self.process.wait(PATIENCE) {
            Some(status) => status.success(),
            None => panic!("the worker does not stop:\n{}", self.log()),
        }
    }

    /// Sends a signal, as `kill` names it, to its first process alone: `QUIT` is Celery's cold
    /// shutdown, `STOP` and `CONT` suspend and resume.
    ///
    /// # Panics
    /// Panics if it has ended.
    pub fn signal(&mut self, signal: &str) {
        if let Err(error) = self.process.signal(signal) {
            panic!("no signal {signal} to the worker: {error}; its log:\n{}", self.log());
        }
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Objects are merged, so that a worker may differ in one transport option.
fn merge(
    base: &mut serde_json::Map<String, serde_json::Value>,
    more: &serde_json::Map<String, serde_json::Value>,
) {
    for (name, value) in more {
        match (base.get_mut(name), value) {
            (Some(serde_json::Value::Object(base)), serde_json::Value::Object(more)) => {
                merge(base, more);
            }
            _ => drop(base.insert(name.clone(), value.clone())),
        }
    }
}
