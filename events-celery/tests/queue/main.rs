//! What lies in a real Redis, however it came there, and what Redis does to those who use it.

#![allow(unreachable_pub, reason = "the modules of a program are for each other")]
#![recursion_limit = "256"] // the futures of brokers in those of tests

mod acl;
mod cancellation;
mod faults;
mod full;
mod logs;
mod lost_answers;
mod malformed;
mod restores;
#[cfg(feature = "sentinel")]
mod sentinel;
#[cfg(feature = "tls")]
mod tls;
mod users;
mod world;
