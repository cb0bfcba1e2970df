use serde::Deserialize;
use serde_json::{Map, Value};

/// What a task saw when it was executed, once.
#[derive(Clone, Debug, Deserialize)]
pub struct Record {
    /// The task's name.
    pub name: String,
    /// The task's id, which stays the same when it is retried or delivered again.
    pub id: String,
    /// Its arguments: of an event `[payload, event_id]`. A text, Python's own, if JSON cannot say it.
    pub args: Value,
    /// Its keyword arguments.
    pub kwargs: Value,
    /// How often it was retried before.
    pub retries: u32,
    /// Before when it was not to be executed.
    pub eta: Option<String>,
    /// After when it was not to be executed.
    pub expires: Option<String>,
    /// The message's priority.
    pub priority: Option<i64>,
    /// Whether the message says that it was delivered before.
    pub redelivered: bool,
    /// The queue, as the message names it.
    pub queue: Option<String>,
    /// Headers that are not Celery's own.
    pub headers: Option<Map<String, Value>>,
    /// Of the message.
    pub correlation_id: Option<String>,
    /// The first task of its workflow.
    pub root_id: Option<String>,
    /// The task that published it, or itself if it is retried.
    pub parent_id: Option<String>,
    /// The worker.
    pub node: String,
    /// The worker's process that executed it.
    pub pid: u32,
    /// When, in seconds since 1970.
    pub at: f64,
    /// Whether this is the second record of `fleet.slow`, at its end.
    pub ended: bool,
}

impl Record {
    /// Its positional arguments.
    ///
    /// # Panics
    /// Panics if JSON cannot say them.
    #[must_use]
    pub fn arguments(&self) -> &[Value] {
        self.args.as_array().unwrap_or_else(|| panic!("not JSON: {}", self.args))
    }
}
