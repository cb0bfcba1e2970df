//! What lies in `unacked`: messages that somebody holds, here or in Python, and those that wait.

use std::collections::HashSet;

use redis::Value;
use serde_json::value::RawValue;

use crate::broker::Inner;
use crate::error::CeleryError;
use crate::keys::Step;
use crate::message::Object;

const ACTION: &str = "look at what is held";

/// A message, and where it came from.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) message: String,
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
}

impl Entry {
    fn read(json: &str) -> Option<Self> {
        let (message, exchange, routing_key): (&RawValue, Option<String>, String) =
            serde_json::from_str(json).ok()?;
        Some(Self {
            message: message.get().to_owned(),
            exchange: exchange.unwrap_or_default(),
            routing_key,
        })
    }

    /// That of the message's priority.
    pub(crate) fn step(&self) -> Step {
        let properties = Object::parse(&self.message).ok().and_then(|message| {
            let properties = message.raw("properties")?.to_owned();
            Some(Object::parse(&properties).ok()?.get::<i64>("priority"))
        });
        Step::of(properties.flatten().unwrap_or(0).clamp(0, 9))
    }
}

/// The tags that match a pattern. It looks at all that are held by anybody, so it is for those that
/// died.
pub(crate) async fn tags_like(inner: &Inner, pattern: &str) -> Result<Vec<String>, CeleryError> {
    let mut found = HashSet::new(); // a scan may give one twice
    let mut cursor = "0".to_owned();
    loop {
        let mut command = redis::cmd("ZSCAN");
        command.arg(&inner.keys.unacked_index).arg(&cursor);
        command.arg("MATCH").arg(pattern).arg("COUNT").arg(1000);
        let (next, pairs): (String, Vec<Value>) = inner.link.command(ACTION, &command).await?;
        for tag in pairs.into_iter().step_by(2) {
            found.insert(
                redis::from_redis_value::<String>(tag)
                    .map_err(|error| CeleryError::command(ACTION, error.into()))?,
            );
        }
        if next == "0" {
            let mut found: Vec<_> = found.into_iter().collect();
            found.sort();
            return Ok(found);
        }
        cursor = next;
    }
}

/// What lies under these tags; nothing for what cannot be read, which is left alone.
pub(crate) async fn entries(
    inner: &Inner,
    tags: &[String],
) -> Result<Vec<(String, Option<Entry>)>, CeleryError> {
    if tags.is_empty() {
        return Ok(Vec::new());
    }
    let mut command = redis::cmd("HMGET");
    command.arg(&inner.keys.unacked).arg(tags);
    let found: Vec<Option<Vec<u8>>> = inner.link.command(ACTION, &command).await?;
    let read = |entry: Option<Vec<u8>>| Entry::read(std::str::from_utf8(&entry?).ok()?);
    Ok(tags.iter().cloned().zip(found.into_iter().map(read)).collect())
}
