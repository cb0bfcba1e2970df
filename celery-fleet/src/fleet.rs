use std::fmt::Display;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use guarded_process::Guardian;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::environment::{self, Version};
use crate::flower::Flower;
use crate::record::Record;
use crate::settings::WorkerSettings;
use crate::worker::PythonWorker;

/// Longer than anything here takes, on a slow machine; reached only by a bug.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// A Celery application on a broker: its workers, its publishers, and what its tasks have recorded.
///
/// Its processes are killed and its folder is removed when this value and all workers are dropped, or
/// the program ends in any way.
#[derive(Debug)]
pub struct Fleet {
    pub(crate) guardian: Guardian,
    pub(crate) configuration: Map<String, Value>,
    python: PathBuf,
    folder: PathBuf,
    tasks: Vec<String>,
    numbers: AtomicU32,
}

/// How [`Fleet::measure_publishing`] publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publishing {
    /// `apply_async`, and nothing else.
    Default,
    /// `apply_async` with one producer that is held.
    Producer,
    /// Inside `Producer.batch()`, which [`Version::Newest`] has.
    Batch,
}

/// How fast tasks were published.
#[derive(Clone, Copy, Debug, Deserialize)]
#[non_exhaustive]
pub struct Measurement {
    /// How many.
    pub tasks: u64,
    /// How long it took.
    pub seconds: f64,
    /// How much of a processor it took, the publisher's part.
    pub cpu_seconds: f64,
}

impl Fleet {
    /// An application of this version on the broker with this URL. Nothing runs yet.
    ///
    /// # Panics
    /// Panics if the Python environment is missing, with what to do.
    #[must_use]
    pub fn python(version: Version, broker: &str) -> Self {
        let python = environment::python(version);
        let folder = tempfile::Builder::new().prefix("fleet-").tempdir().expect("a new folder");
        let guardian = Guardian::start(Some(folder.path())).expect("a shell starts");
        let configuration = json!({
            "broker_url": broker,
            "broker_connection_retry_on_startup": true, // as before, and without a warning
        });
        let Value::Object(configuration) = configuration else { unreachable!("it is one") };
        Self {
            guardian,
            configuration,
            python,
            folder: folder.keep(), // the guardian removes it
            tasks: Vec::new(),
            numbers: AtomicU32::new(0),
        }
    }

    /// Adds to Celery's configuration: `task_acks_late`, `result_backend`, ….
    #[must_use]
    pub fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.configuration.insert(name.to_owned(), value.into());
        self
    }

    /// Adds to `broker_transport_options`: `visibility_timeout` in seconds, `global_keyprefix`,
    /// `priority_steps`, `master_name`, ….
    #[must_use]
    pub fn transport_option(mut self, name: &str, value: impl Into<Value>) -> Self {
        let options = self.configuration.entry("broker_transport_options").or_insert(json!({}));
        options[name] = value.into();
        self
    }

    /// Trusts this authority, for a broker that speaks TLS.
    ///
    /// # Panics
    /// Panics if the path is not Unicode.
    #[must_use]
    pub fn certificate_authority(self, certificate: &Path) -> Self {
        let certificate = certificate.to_str().expect("the path is Unicode");
        let tls = json!({"ssl_cert_reqs": "required", "ssl_ca_certs": certificate});
        self.set("broker_use_ssl", tls)
    }

    /// Adds tasks of these names, which do what `fleet.record` does.
    #[must_use]
    pub fn tasks<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.tasks.extend(names.into_iter().map(str::to_owned));
        self
    }

    /// Starts a worker and waits until it is ready.
    ///
    /// # Panics
    /// Panics if it ends instead, with its log.
    #[must_use = "the worker is killed when it is dropped"]
    pub fn worker(&self, settings: &WorkerSettings) -> PythonWorker {
        PythonWorker::start(self, settings)
    }

    /// Starts Flower and waits until it answers.
    ///
    /// # Panics
    /// Panics if it ends instead, with its log: only [`Version::Newest`] has it.
    #[must_use = "Flower is killed when it is dropped"]
    pub fn flower(&self) -> Flower {
        Flower::start(self)
    }

    /// Publishes each with `apply_async` and returns the tasks' ids. A line is an object of `task`,
    /// `args`, `kwargs` and any option of `apply_async`; `link` and `link_error` are such objects, and
    /// so are the elements of `chain` and of `chord`, whose `body` is one too. A line may be a text, to
    /// say what JSON cannot, such as `NaN`; kombu's tagged values are the values that they stand for.
    ///
    /// # Panics
    /// Panics if Python refuses one, with what it says.
    pub fn publish(&self, lines: &[impl Display]) -> Vec<String> {
        let lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
        let output = self.run(&["publish.py"], &lines.join("\n"));
        output.lines().map(str::to_owned).collect()
    }

    /// Publishes `fleet.nothing` with an event's usual arguments to this queue, so many times and one
    /// more before, which connects.
    ///
    /// # Panics
    /// Panics if Python cannot do it, with what it says.
    pub fn measure_publishing(&self, tasks: u64, how: Publishing, queue: &str) -> Measurement {
        let how = match how {
            Publishing::Default => "default",
            Publishing::Producer => "producer",
            Publishing::Batch => "batch",
        };
        let args = json!([
            {"name": "ping", "count": 3, "at": "2026-01-02T03:04:05Z"},
            "0192f0c1-7a5e-7c3a-9d4e-3f1b2a6c5d4e",
        ]);
        let (tasks, args) = (tasks.to_string(), args.to_string());
        let arguments = ["publish.py", "measure", &tasks, how, "--queue", queue, "--args", &args];
        parsed(&self.run(&arguments, ""))
    }

    /// Asks all workers, as `celery inspect` and `celery control` do: what each replied within two
    /// seconds, by node. Methods are `ping`, `stats`, `active`, `registered`, `reserved`, `scheduled`,
    /// `active_queues`, `conf`, `revoked`; `rate_limit`, `add_consumer`, `revoke`, `enable_events`,
    /// `shutdown` and all others.
    ///
    /// # Panics
    /// Panics if Python cannot ask.
    pub fn control(&self, method: &str, arguments: &Value) -> Map<String, Value> {
        parsed(&self.run(&["control.py", method, &arguments.to_string()], ""))
    }

    /// As [`control`](Self::control), of one node.
    ///
    /// # Panics
    /// Panics if Python cannot ask.
    pub fn control_of(&self, node: &str, method: &str, arguments: &Value) -> Map<String, Value> {
        let arguments = arguments.to_string();
        parsed(&self.run(&["control.py", method, &arguments, "--destination", node], ""))
    }

    /// Waits for the result of a task, as a caller does that has this exception, of a module and a name: what
    /// `AsyncResult.get` `returned`, or the name of what it `raised` and its `text`.
    ///
    /// # Panics
    /// Panics if Python cannot ask: set the `result_backend`.
    pub fn result(&self, task: &str, exception: Option<(&str, &str)>) -> Value {
        let mut arguments = vec!["result.py", task];
        arguments.extend(exception.into_iter().flat_map(|(module, name)| [module, name]));
        parsed(&self.run(&arguments, ""))
    }

    /// What tasks have recorded, in the order of their execution.
    ///
    /// # Panics
    /// Panics if a line is not one of `fleet.py`.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        let text = fs::read_to_string(self.records_file()).unwrap_or_default();
        // The last line may be half written.
        text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(parsed).collect()
    }

    /// Waits until there are at least so many records, and returns all.
    ///
    /// # Panics
    /// Panics if they do not come.
    pub fn wait_for_records(&self, count: usize) -> Vec<Record> {
        let deadline = Instant::now() + PATIENCE;
        let (mut lines, mut read) = (0, 0); // there may be many: each is counted once
        while lines < count {
            assert!(Instant::now() < deadline, "there are {lines} records of {count}");
            thread::sleep(Duration::from_millis(10));
            let mut added = Vec::new();
            if let Ok(mut file) = File::open(self.records_file()) {
                file.seek(SeekFrom::Start(read))
                    .and_then(|_| file.read_to_end(&mut added))
                    .expect("the records can be read");
            }
            read += added.len() as u64;
            lines += added.split(|&byte| byte == b'\n').count() - 1;
        }
        self.records()
    }

    /// Where the logs are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn next_number(&self) -> u32 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn records_file(&self) -> PathBuf {
        self.folder.join("records")
    }

    /// `celery`, with the application, under the guardian.
    pub(crate) fn celery(&self, configuration: &Map<String, Value>) -> Command {
        let mut command = self.guardian.command(&self.python).expect("few files are open");
        command.args(["-m", "celery", "--app", "fleet:app"]);
        self.configure(&mut command, configuration);
        command
    }

    /// Runs one of our Python programs to its end: what it has written.
    fn run(&self, arguments: &[&str], input: &str) -> String {
        let mut file = tempfile::tempfile_in(&self.folder).expect("a new file");
        file.write_all(input.as_bytes())
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .expect("the disk has room");
        let mut command = Command::new(&self.python);
        command.arg(environment::sources().join(arguments[0])).args(&arguments[1..]).stdin(file);
        self.configure(&mut command, &self.configuration);
        let Output { status, stdout, stderr } = command.output().expect("Python starts");
        let error = String::from_utf8_lossy(&stderr);
        assert!(status.success(), "{} failed, {status}:\n{error}", arguments[0]);
        String::from_utf8(stdout).expect("it writes text")
    }

    fn configure(&self, command: &mut Command, configuration: &Map<String, Value>) {
        // Celery, and Python, have variables that win over a configuration.
        for (variable, _) in std::env::vars_os() {
            let name = variable.to_string_lossy();
            if ["CELERY_", "FLOWER_", "PYTHON"].iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(&variable);
            }
        }
        command
            .current_dir(&self.folder)
            .env("PYTHONPATH", environment::sources())
            .env("PYTHONDONTWRITEBYTECODE", "1") // the sources are somebody's working copy
            .env("PYTHONUNBUFFERED", "1")
            .env("FLEET_CONFIGURATION", Value::Object(configuration.clone()).to_string())
            .env("FLEET_TASKS", json!(self.tasks).to_string())
            .env("FLEET_RECORDS", self.records_file());
    }
}

fn parsed<T: for<'text> Deserialize<'text>>(text: &str) -> T {
    serde_json::from_str(text)
        .unwrap_or_else(|error| panic!("{error} in what Python wrote: {text}"))
}
