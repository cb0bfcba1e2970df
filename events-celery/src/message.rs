//! Celery's task messages: what lies in the lists of Redis.
//!
//! Version 2 of the message protocol, in kombu's envelope, as Celery 5.3 to 5.7 write and read it
//! (<https://docs.celeryq.dev/en/stable/internals/protocol.html>); version 1, of old programs, is
//! read.

mod again;
mod call;
mod decode;
mod encode;
mod envelope;
mod object;
mod python;
mod tags;
mod time;

#[cfg(test)]
mod tests;

pub(crate) use again::Change;
pub(crate) use decode::{Message, Unreadable, count, uuid_of};
pub(crate) use encode::{Outgoing, Refused, debounce_key, encode};
pub(crate) use object::{Object, json_text};
pub(crate) use python::shown;
pub(crate) use time::format as iso_time;

/// The last bytes of every message that this crate writes: what ends so is JSON, and a claim need
/// not read it to know. kombu passes over fields that it does not know.
pub(crate) const MARK: &str = ",\"events\":1}";

/// Headers of this crate's own, flat among Celery's as those of applications are.
pub(crate) mod header {
    /// The event's name.
    pub(crate) const EVENT: &str = "events_event";
    /// When the event was published.
    pub(crate) const PUBLISHED_AT: &str = "events_published_at";
    /// The priority, if Celery's ten do not have it.
    pub(crate) const PRIORITY: &str = "events_priority";
    /// What must be quiet, of a task that is debounced.
    pub(crate) const DEBOUNCE: &str = "events_debounce";
    /// Every attempt that went wrong.
    pub(crate) const ERRORS: &str = "events_errors";
    /// How many workers have died over it, which Celery's `retries` does not count.
    pub(crate) const RESCUED: &str = "events_rescued";
    /// How often it was put back because nobody here may run it.
    pub(crate) const RETURNED: &str = "events_returned";

    /// Whether it is one of them, or one that Celery sets itself.
    pub(crate) fn is_taken(name: &str) -> bool {
        matches!(name, EVENT | PUBLISHED_AT | PRIORITY | DEBOUNCE | ERRORS | RESCUED | RETURNED)
            || is_celerys(name)
    }

    /// Those that Celery sets itself, and the names under which it shows other things to its tasks.
    fn is_celerys(name: &str) -> bool {
        matches!(
            name,
            "args"
                | "argsrepr"
                | "called_directly"
                | "callbacks"
                | "chain"
                | "children"
                | "chord"
                | "compression"
                | "correlation_id"
                | "delivery_info"
                | "errbacks"
                | "eta"
                | "expires"
                | "group"
                | "group_index"
                | "headers"
                | "hostname"
                | "id"
                | "ignore_result"
                | "is_eager"
                | "kwargs"
                | "kwargsrepr"
                | "lang"
                | "logfile"
                | "loglevel"
                | "origin"
                | "parent_id"
                | "periodic_task_name"
                | "properties"
                | "redelivered"
                | "reply_to"
                | "replaced_task_nesting"
                | "retries"
                | "root_id"
                | "shadow"
                | "stamped_headers"
                | "stamps"
                | "task"
                | "taskset"
                | "timelimit"
                | "utc"
        )
    }
}
