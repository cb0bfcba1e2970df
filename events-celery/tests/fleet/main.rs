//! A worker in Rust is a citizen of Celery's fleet.
//!
//! | module    | promises                                                                     |
//! |-----------|------------------------------------------------------------------------------|
//! | `told`    | workers tell that they live, and what becomes of their tasks                 |
//! | `asked`   | they answer to remote control, and hear of revoked tasks                     |
//! | `acl`     | what a user of Redis must be allowed for it                                  |
//! | `results` | callers that wait for a result get one                                       |
//! | `python`  | all of it in the eyes of real Celery: its tools, its workers and Flower      |
#![allow(unreachable_pub, reason = "a test program exports nothing")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::needless_pass_by_value, reason = "handlers take their event by value")]

mod acl;
mod asked;
#[path = "../queue/broken_log.rs"]
mod broken_log;
mod client;
#[path = "../queue/guide.rs"]
mod guide;
#[path = "../../../tests/logs.rs"]
#[allow(dead_code, reason = "what is logged is read elsewhere")]
mod logs;
mod python;
mod results;
mod told;
mod world;
