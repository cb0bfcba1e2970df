//! Celery's queues on a real Redis, with programs that are killed, and beside real Celery.
//!
//! | module                 | promises                                                            |
//! |------------------------|---------------------------------------------------------------------|
//! | `alone`                | workers and publishers in Rust, killed, stalled, stopped            |
//! | `restarts`             | Redis killed and started again, and what is told while it is away    |
//! | `python::to_python`    | what Rust publishes and Python executes                             |
//! | `python::from_python`  | what Python publishes and Rust executes                             |
//! | `python::shared_queue` | what goes from one to the other and back                            |
//! | `python::visibility`   | visibility timeouts of different lengths, countdowns longer than any |
//! | `python::kills`        | workers of both killed at random                                    |

mod alone;
mod python;
mod restarts;
mod shop;
mod world;
