//! Celery's task messages over Redis: publish to workers in Python, and work beside them.
//!
//! | to                                                  | use                                     |
//! |-----------------------------------------------------|-----------------------------------------|
//! | say where Redis is and what its fleet is set to     | [`CeleryOptions`]                       |
//! | send tasks: through an outbox, or after the commit  | [`CeleryTransport`]                     |
//! | run tasks that Python or Rust have sent             | [`CeleryBroker`], with a worker         |
//! | publish without a database                          | [`CeleryBroker::begin`]                 |
//!
//! ```no_run
//! use events_celery::{CeleryBroker, CeleryOptions};
//! use events_core::prelude::*;
//! use events_runtime::Worker;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let events = Events::builder().build()?;
//! let options = CeleryOptions::new("redis://127.0.0.1:6379/0")?;
//! let broker = CeleryBroker::connect(&options, &events).await?;
//! let worker = Worker::builder(&events, broker).build()?;
//! worker.run_until(tokio::signal::ctrl_c()).await?;
//! # Ok(()) }
//! ```
//!
//! # What is promised
//! At least once, and never more than the weakest member of the fleet gives: see [`CeleryBroker`]. Redis
//! has no transaction with a database; whoever needs both or neither publishes through a database's
//! outbox.
//!
//! # Features
//! `tls` for `rediss://` URLs, `sentinel` for Redis behind Sentinel. Neither by default.

mod admin;
mod broker;
mod claim;
mod dead;
mod end;
mod error;
mod examine;
mod fleet;
mod give_back;
mod keys;
mod lease;
mod link;
mod liveness;
mod message;
mod options;
mod panics;
mod reconcilers;
mod rescue;
mod restore;
mod results;
mod score;
mod scripts;
mod session;
mod settle;
mod tag;
mod transport;
mod triage;
mod unacked;
mod watch;

pub use broker::CeleryBroker;
pub use error::CeleryError;
pub use lease::CeleryReceipt;
pub use message::Refused;
pub use options::CeleryOptions;
pub use session::CelerySession;
pub use transport::CeleryTransport;
