//! Celery's task messages over Redis.

mod admin;
mod broker;
mod claim;
mod dead;
mod error;
mod fleet;
mod keys;
mod lease;
mod link;
mod liveness;
mod message;
mod options;
mod reconcilers;
mod rescue;
mod restore;
mod results;
mod scripts;
mod session;
mod settle;
mod transport;
mod triage;
mod watch;

pub use broker::CeleryBroker;
pub use error::CeleryError;
pub use lease::CeleryReceipt;
pub use message::Refused;
pub use options::CeleryOptions;
pub use session::CelerySession;
pub use transport::CeleryTransport;
