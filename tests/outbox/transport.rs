//! A transport that remembers what it has sent, and fails as it is told.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use events_core::transport::{Transport, TransportError, Unsent};
use events_core::{Task, TaskId};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::until;

/// What becomes of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Sent,
    Later,
    Never,
    /// The transport panics.
    Panic,
}

type Judge = Box<dyn FnMut(&Task) -> Verdict + Send>;

/// Clones share what they remember.
#[derive(Clone)]
pub struct Recorder(Arc<Inner>);

struct Inner {
    sent: Mutex<Vec<Task>>,
    away: AtomicBool,
    judge: Mutex<Judge>,
    calls: AtomicUsize,
    /// What a call needs to return.
    gate: Semaphore,
}

impl Recorder {
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            sent: Mutex::default(),
            away: AtomicBool::new(false),
            judge: Mutex::new(Box::new(|_| Verdict::Sent)),
            calls: AtomicUsize::new(0),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
        }))
    }

    pub fn away() -> Self {
        let recorder = Self::new();
        recorder.set_away(true);
        recorder
    }

    pub fn judging(judge: impl FnMut(&Task) -> Verdict + Send + 'static) -> Self {
        let recorder = Self::new();
        *recorder.0.judge.lock().unwrap() = Box::new(judge);
        recorder
    }

    pub fn set_away(&self, away: bool) {
        self.0.away.store(away, Ordering::SeqCst);
    }

    /// From now on it remembers what it is given, and does not return.
    pub fn hold(&self) {
        self.0.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub fn release(&self) {
        self.0.gate.add_permits(Semaphore::MAX_PERMITS);
    }

    pub fn calls(&self) -> usize {
        self.0.calls.load(Ordering::SeqCst)
    }

    pub fn sent(&self) -> Vec<Task> {
        self.0.sent.lock().unwrap().clone()
    }

    /// The publisher and the number of each event that was sent, in order.
    pub fn numbers(&self) -> Vec<(u32, u32)> {
        self.sent().iter().map(numbers_of).collect()
    }

    /// Waits until so many tasks were sent.
    pub async fn has_sent(&self, tasks: usize) {
        until(&format!("{tasks} tasks sent"), async || self.0.sent.lock().unwrap().len() >= tasks)
            .await;
    }

    /// How often each task was sent.
    pub fn times(&self) -> HashMap<TaskId, usize> {
        let mut times = HashMap::new();
        for task in self.sent() {
            *times.entry(task.id).or_default() += 1;
        }
        times
    }
}

pub fn numbers_of(task: &Task) -> (u32, u32) {
    let payload: Value = serde_json::from_str(&task.payload).unwrap();
    let number = |field: &str| u32::try_from(payload[field].as_u64().unwrap()).unwrap();
    (number("publisher"), number("number"))
}

impl Transport for Recorder {
    async fn send(&self, tasks: Vec<Task>) -> Result<(), TransportError> {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        if self.0.away.load(Ordering::SeqCst) {
            return TransportError::check(Unsent::all_later(tasks, "the broker is away"));
        }
        let mut unsent = Vec::new();
        for task in tasks {
            let verdict = {
                let mut judge = self.0.judge.lock().unwrap();
                judge(&task)
            };
            match verdict {
                Verdict::Sent => self.0.sent.lock().unwrap().push(task),
                Verdict::Later => unsent.push(Unsent::later(task, "not now")),
                Verdict::Panic => panic!("a transport that was told to"),
                Verdict::Never => unsent.push(Unsent::never(task, "too large for the broker")),
            }
        }
        drop(self.0.gate.acquire().await.unwrap());
        TransportError::check(unsent)
    }
}
