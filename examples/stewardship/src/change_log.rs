//! The change log: one JSON object per line, one transaction per object.
//!
//! Every field is required (`connection_config_id` of monitors may be `null`), so a misspelt one is
//! noticed as lacking; further fields are ignored. A field that stands twice is refused, because
//! readers would disagree about its value. So is an empty line: it is not JSON.

mod apply;
pub mod json;
pub mod lines;
mod operation;
mod parse;

pub use apply::apply;
pub use operation::{Change, Operation, Sweep};
pub use parse::{Malformed, parse};
