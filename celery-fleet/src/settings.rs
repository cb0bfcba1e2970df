use serde_json::{Map, Value};

/// How a worker executes several tasks at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pool {
    /// In child processes: Celery's default.
    #[default]
    Prefork,
    /// In threads of one process.
    Threads,
    /// Not at all: one after the other, in the worker's own thread. Starts fastest.
    Solo,
}

impl Pool {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Prefork => "prefork",
            Self::Threads => "threads",
            Self::Solo => "solo",
        }
    }
}

/// How a [`PythonWorker`](crate::PythonWorker) is to be.
///
/// ```
/// # use celery_fleet::{Pool, WorkerSettings};
/// let settings = WorkerSettings { pool: Pool::Solo, ..WorkerSettings::of("shop") }
///     .set("worker_prefetch_multiplier", 1);
/// ```
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// What it consumes.
    pub queues: Vec<String>,
    /// How it executes.
    pub pool: Pool,
    /// How many tasks at once.
    pub concurrency: u32,
    /// `DEBUG`, `INFO`, `WARNING`, …; a line per task is in `INFO`.
    pub log_level: String,
    /// More of Celery's configuration, which wins over that of the fleet.
    pub configuration: Map<String, Value>,
    /// More arguments of `celery worker`.
    pub arguments: Vec<String>,
}

impl WorkerSettings {
    /// A worker of this queue: two processes, Celery's own defaults.
    #[must_use]
    pub fn of(queue: &str) -> Self {
        Self::of_all([queue])
    }

    /// A worker of these queues.
    #[must_use]
    pub fn of_all<'a>(queues: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            queues: queues.into_iter().map(str::to_owned).collect(),
            pool: Pool::default(),
            concurrency: 2,
            log_level: "INFO".to_owned(),
            configuration: Map::new(),
            arguments: Vec::new(),
        }
    }

    /// Adds to Celery's configuration of this worker.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.configuration.insert(name.to_owned(), value.into());
        self
    }
}
