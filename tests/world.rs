//! A database in a folder of its own, and what handlers have seen.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use events_core::Registry;
use events_core::broker::{Admin, Broker};
use events_core::prelude::*;
use events_core::registry::RegistryBuilder;
use events_runtime::Worker;
use events_sqlx::{PostgresQueue, SqliteQueue};
use private_postgres::{Database, Server};

/// What handlers have seen, in order. Handlers take it as `State<Seen<T>>`.
#[derive(Debug)]
pub struct Seen<T>(Arc<Mutex<Vec<T>>>);

impl<T> Clone for Seen<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone> Seen<T> {
    pub fn push(&self, value: T) {
        self.0.lock().unwrap().push(value);
    }

    pub fn all(&self) -> Vec<T> {
        self.0.lock().unwrap().clone()
    }
}

/// Everything that is declared in a module, as a program of its own.
pub fn events_in(module: &str) -> Events {
    events_of(Registry::builder().linked_in(module), EventSettings::default())
}

pub fn events_of(registry: RegistryBuilder, settings: EventSettings) -> Events {
    let registry = registry.build().expect("the test is wired rightly");
    Events::builder().registry(registry).settings(settings).build().expect("the settings work")
}

/// A queue on a database file that goes with the guard.
pub async fn sqlite(events: &Events) -> (SqliteQueue, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let queue = SqliteQueue::open(folder.path().join("test.db"), events).await.expect("opens");
    (queue, folder)
}

/// Runs a worker until nothing waits and nothing runs.
pub async fn work_until_drained<B: Broker + Admin>(worker: Worker<B>) {
    tokio::time::timeout(Duration::from_mins(1), worker.run_until_drained())
        .await
        .expect("the queue drains")
        .expect("the worker runs");
}

/// A queue in a database of its own.
pub async fn postgres(events: &Events) -> (PostgresQueue, Database) {
    let database = tokio::task::spawn_blocking(|| Server::shared().create_database());
    let database = database.await.unwrap();
    let queue = PostgresQueue::connect(&database.url(), events).await.unwrap();
    (queue, database)
}
