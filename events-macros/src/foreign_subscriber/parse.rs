//! The grammar of `foreign_subscriber! { … }`.
//!
//! ```text
//! foreign_subscriber! { event = TheEvent, task = "…", queue = "…", key = value, … }
//! ```

use proc_macro2::TokenStream;

use crate::delivery;
use crate::keys::{Arguments, CRATE, Key};
use crate::mistakes::Mistakes;

pub(super) const EVENT: Key = Key::new("event", "event = OrderPlaced");
pub(super) const TASK: Key = Key::new("task", "task = \"shop.tasks.send_confirmation\"");

const DECIDED_THERE: &str =
    "the program that runs the task decides how it is tried; say it there, and remove it here";

const KEYS: &[Key] = &[
    EVENT,
    TASK,
    delivery::QUEUE,
    delivery::PRIORITY,
    delivery::DELAY,
    delivery::RECONCILED_BY,
    delivery::FRESHNESS_ONLY,
    CRATE,
    Key::refused("name", "the name of the task is written `task = \"…\"`"),
    Key::refused("max_retries", DECIDED_THERE),
    Key::refused("retry_backoff", DECIDED_THERE),
    Key::refused("timeout", DECIDED_THERE),
];

pub(super) struct Parsed {
    pub(super) arguments: Arguments,
    /// What is wrong with them already.
    pub(super) mistakes: Mistakes,
}

pub(super) fn parse(arguments: TokenStream) -> Parsed {
    let mut mistakes = Mistakes::default();
    let arguments = Arguments::parse(arguments, KEYS, &mut mistakes);
    Parsed { arguments, mistakes }
}
