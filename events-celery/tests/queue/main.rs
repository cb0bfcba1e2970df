//! What lies in a real Redis, however it came there, and what Redis does to those who use it.
//!
//! | module         | promises                                                              |
//! |----------------|-----------------------------------------------------------------------|
//! | `malformed`    | messages that are none are kept, told, and in nobody's way            |
//! | `panics`       | what cannot be looked at without a panic is in nobody's way           |
//! | `restores`     | what consumers in Python left behind is offered again                 |
//! | `faults`       | keys that hold something else, and scripts that are forgotten         |
//! | `full`         | a Redis without memory is worked off                                  |
//! | `lost_answers` | what was taken and not heard of goes back                             |
//! | `cancellation` | callers may go away at any point                                      |
//! | `acl`          | what a user must be allowed, and that less loses nothing              |
//! | `away`         | who cannot send is told why                                           |
//! | `users`        | who is not let in is told                                             |
//! | `tls`          | certificates                                                          |
//! | `sentinel`     | masters that die                                                      |
#![allow(unreachable_pub, reason = "a test program exports nothing")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::needless_pass_by_value, reason = "handlers take their event by value")]

mod acl;
mod away;
mod broken_log;
mod cancellation;
mod debounced;
mod faults;
mod full;
mod guide;
#[path = "../../../tests/logs.rs"]
mod logs;
mod lost_answers;
mod malformed;
mod panics;
mod restores;
#[cfg(feature = "sentinel")]
mod sentinel;
#[cfg(feature = "tls")]
mod tls;
mod users;
mod world;
