//! Celery's task messages over Redis: publish to workers in Python, and work beside them.
//!
//! For Celery 5.3 to 5.7, Redis from 6.2 on, and messages in JSON, Celery's default.
//!
//! | to                                                  | use                                     |
//! |-----------------------------------------------------|-----------------------------------------|
//! | say what the fleet is set to, and open either       | [`CeleryOptions`]                       |
//! | send tasks: through an outbox, or after the commit  | [`CeleryTransport`]                     |
//! | run tasks that Python or Rust have sent             | [`CeleryBroker`], with a worker         |
//! | publish without a database                          | [`CeleryBroker::begin`]                 |
//!
//! ```no_run
//! use events_celery::CeleryBroker;
//! use events_core::prelude::*;
//! use events_runtime::{Worker, shutdown_signal};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let events = Events::builder().build()?;
//! let broker = CeleryBroker::connect("redis://127.0.0.1:6379/0", &events).await?;
//! let worker = Worker::builder(&events, broker.clone()).build()?;
//! let asked_to_end = async {
//!     tokio::select! {
//!         () = shutdown_signal() => {}
//!         () = broker.shutdown_requested() => {} // `celery control shutdown`
//!     }
//! };
//! worker.run_until(asked_to_end).await?;
//! # Ok(()) }
//! ```
//!
//! # What is promised
//! Tasks run at least once, and a fleet is as safe as its weakest worker: what a worker in Python may lose,
//! it loses here too. [`CeleryBroker`] has the details. Redis has no transaction with a database: whoever
//! needs both or neither publishes through a database's outbox, and a relay sends what is in there:
//!
//! ```no_run
//! use events_celery::CeleryTransport;
//! use events_core::{Events, Outbox};
//! use events_runtime::{Relay, shutdown_signal};
//!
//! # async fn relay(queue: impl Outbox, events: Events) -> Result<(), Box<dyn std::error::Error>> {
//! let transport = CeleryTransport::connect_lazy("redis://127.0.0.1:6379/0", &events)?;
//! Relay::new(queue, transport).run_until(shutdown_signal()).await?;
//! # Ok(()) }
//! ```
//!
//! # Features
//! Neither by default:
//! - `sentinel` for `sentinel://` URLs, a Redis behind Sentinel.
//! - `tls` for `rediss://` URLs. Before the first such connection it installs ring as the
//!   [process-wide provider of rustls' cryptography](https://docs.rs/rustls/latest/rustls/crypto/struct.CryptoProvider.html#using-the-per-process-default-cryptoprovider),
//!   if the program has installed none. A program that wants another installs it before it connects.

mod address;
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
mod source;
mod tag;
mod to_its_end;
mod transport;
mod triage;
mod unacked;
mod watch;

pub use broker::CeleryBroker;
pub use error::{CeleryError, OperationError};
pub use lease::CeleryReceipt;
pub use options::{CeleryOptions, CeleryResults};
pub use session::CelerySession;
pub use transport::CeleryTransport;
