//! Real Celery, in Python, for tests: workers that run tasks, publishers, remote control and Flower.
//!
//! ```no_run
//! use celery_fleet::{Fleet, Version, WorkerSettings};
//! use serde_json::json;
//!
//! let fleet = Fleet::python(Version::Newest, "redis://127.0.0.1:6379/1")
//!     .transport_option("visibility_timeout", 2)
//!     .tasks(["events.shop.placed.mail"]);
//! let mut worker = fleet.worker(&WorkerSettings::of("shop").set("task_acks_late", true));
//! let ids = fleet.publish(&[json!({
//!     "task": "events.shop.placed.mail",
//!     "args": [{"order": 7}, "0192f0c1-7a5e-7c3a-9d4e-3f1b2a6c5d4e"],
//!     "queue": "shop",
//! })]);
//! let records = fleet.wait_for_records(1);
//! assert_eq!(records[0].id, ids[0]);
//! worker.kill();
//! ```
//!
//! The Python side is in `python`: `install` makes an environment per [`Version`], `fleet.py` is the
//! application with its tasks. All processes end when the test program does, however that happens.
//!
//! This is for tests: what goes wrong is a panic that says what to do. Everything here blocks: call it
//! before the test's work, or from `spawn_blocking`.
//!
//! Tests that use it live in modules called `python`, so that `./test` can leave them out, and say
//! so, on a machine without Python.

mod environment;
mod fleet;
mod flower;
mod record;
mod settings;
mod worker;

pub use self::{
    environment::Version,
    fleet::{Fleet, Measurement, Publishing},
    flower::Flower,
    record::Record,
    settings::{Pool, WorkerSettings},
    worker::PythonWorker,
};
