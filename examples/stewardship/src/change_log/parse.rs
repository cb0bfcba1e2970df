//! From the bytes of a line to what it asks for, or the reason why not.

use super::json::{Json, Object};
use super::operation::{Change, Operation, Sweep};

/// Why a line cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the texts say it
pub enum Malformed {
    #[error("the line is empty; every line is a JSON object")]
    Empty,
    #[error("not UTF-8: byte {0} is no part of a character")]
    NotUtf8(usize),
    #[error("not JSON: {0}")]
    NotJson(String),
    #[error("expected a JSON object with the field `op`, found {0}")]
    NotAnObject(&'static str),
    #[error("lacks the field `{field}`{}", present(.others))]
    Lacks { field: &'static str, others: Vec<String> },
    #[error("the field `{field}` must be {expected}, found {found}")]
    Type { field: &'static str, expected: &'static str, found: &'static str },
    #[error("unknown op {0:?}; known are {KNOWN}")]
    UnknownOp(String),
    #[error("a transaction cannot stand in a transaction")]
    Nested,
    #[error("`reconcile` runs in transactions of its own; give it a line of its own")]
    NestedSweep,
    #[error("operation {number} of the transaction: {source}")]
    Inner { number: usize, source: Box<Malformed> },
}

const KNOWN: &str = "create_user, create_system, create_connection, create_monitor, add_steward, \
    remove_steward, set_managed_systems, link, unlink, set_inheritance, reassign_connection, \
    add_explicit_steward, remove_explicit_steward, delete_user, delete_system, delete_connection, \
    delete_monitor, operation, transaction, reconcile";

/// The fields that are there instead, to make a misspelling visible.
fn present(others: &[String]) -> String {
    match others {
        [] => String::new(),
        others => format!(" (but has {})", others.join(", ")),
    }
}

/// Reads one line, without its end.
///
/// # Errors
/// Anything but one of the operations with all of its fields.
pub fn parse(line: &[u8]) -> Result<Change, Malformed> {
    if line.trim_ascii().is_empty() {
        return Err(Malformed::Empty);
    }
    let text = std::str::from_utf8(line)
        .map_err(|error| Malformed::NotUtf8(error.valid_up_to().saturating_add(1)))?;
    let json: Json = serde_json::from_str(text).map_err(|error| not_json(&error))?;
    let mut fields = Fields::of(json)?;
    let op = fields.text("op")?;
    match op.as_str() {
        "transaction" => {}
        "reconcile" => return Ok(Change::Sweep(Sweep {})),
        _ => return operation(&op, fields).map(Change::One),
    }
    let listed = fields.list("ops")?;
    let rollback = fields.flag("rollback")?;
    let mut ops = Vec::with_capacity(listed.len());
    for (index, json) in listed.into_iter().enumerate() {
        ops.push(
            inner(json).map_err(|source| Malformed::Inner {
                number: index + 1,
                source: Box::new(source),
            })?,
        );
    }
    Ok(Change::transaction(ops, rollback))
}

fn inner(json: Json) -> Result<Operation, Malformed> {
    let mut fields = Fields::of(json)?;
    let op = fields.text("op")?;
    match op.as_str() {
        "transaction" => Err(Malformed::Nested),
        "reconcile" => Err(Malformed::NestedSweep),
        _ => operation(&op, fields),
    }
}

fn operation(op: &str, mut from: Fields) -> Result<Operation, Malformed> {
    let from = &mut from;
    Ok(match op {
        "create_user" => Operation::CreateUser { user_id: from.text("user_id")? },
        "create_system" => Operation::CreateSystem { system_id: from.text("system_id")? },
        "create_connection" => {
            Operation::CreateConnection { connection_config_id: from.text(CONNECTION)? }
        }
        "create_monitor" => Operation::CreateMonitor {
            key: from.text("key")?,
            connection_config_id: from.text_or_null(CONNECTION)?,
            inherit_system_stewards: from.flag("inherit_system_stewards")?,
        },
        "add_steward" => Operation::AddSteward {
            system_id: from.text("system_id")?,
            user_id: from.text("user_id")?,
        },
        "remove_steward" => Operation::RemoveSteward {
            system_id: from.text("system_id")?,
            user_id: from.text("user_id")?,
        },
        "set_managed_systems" => Operation::SetManagedSystems {
            user_id: from.text("user_id")?,
            system_ids: from.texts("system_ids")?,
        },
        "link" => Operation::Link {
            system_id: from.text("system_id")?,
            connection_config_id: from.text(CONNECTION)?,
        },
        "unlink" => Operation::Unlink {
            system_id: from.text("system_id")?,
            connection_config_id: from.text(CONNECTION)?,
        },
        other => return monitor_operation(other, from),
    })
}

fn monitor_operation(op: &str, from: &mut Fields) -> Result<Operation, Malformed> {
    Ok(match op {
        "set_inheritance" => {
            Operation::SetInheritance { key: from.text("key")?, enabled: from.flag("enabled")? }
        }
        "reassign_connection" => Operation::ReassignConnection {
            key: from.text("key")?,
            connection_config_id: from.text_or_null(CONNECTION)?,
        },
        "add_explicit_steward" => {
            Operation::AddExplicitSteward { key: from.text("key")?, user_id: from.text("user_id")? }
        }
        "remove_explicit_steward" => Operation::RemoveExplicitSteward {
            key: from.text("key")?,
            user_id: from.text("user_id")?,
        },
        "operation" => Operation::Complete {
            key: from.text("key")?,
            operation_type: from.text("operation_type")?,
        },
        "delete_monitor" => Operation::DeleteMonitor { key: from.text("key")? },
        other => return deletion(other, from),
    })
}

fn deletion(op: &str, from: &mut Fields) -> Result<Operation, Malformed> {
    Ok(match op {
        "delete_user" => Operation::DeleteUser { user_id: from.text("user_id")? },
        "delete_system" => Operation::DeleteSystem { system_id: from.text("system_id")? },
        "delete_connection" => {
            Operation::DeleteConnection { connection_config_id: from.text(CONNECTION)? }
        }
        unknown => return Err(Malformed::UnknownOp(unknown.to_owned())),
    })
}

const CONNECTION: &str = "connection_config_id";

/// `serde_json`'s position speaks of the first line, which would be mistaken for the log's.
fn not_json(error: &serde_json::Error) -> Malformed {
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    Malformed::NotJson(format!("{what} (column {})", error.column()))
}

/// The fields of an object, taken one by one.
struct Fields(Object);

impl Fields {
    fn of(json: Json) -> Result<Self, Malformed> {
        match json {
            Json::Object(object) => Ok(Self(object)),
            other => Err(Malformed::NotAnObject(other.kind())),
        }
    }

    fn take(&mut self, field: &'static str) -> Result<Json, Malformed> {
        self.0.take(field).ok_or_else(|| Malformed::Lacks {
            field,
            others: self.0.names().take(8).map(|name| format!("{name:?}")).collect(),
        })
    }

    fn text(&mut self, field: &'static str) -> Result<String, Malformed> {
        text(self.take(field)?, field, "a string")
    }

    fn text_or_null(&mut self, field: &'static str) -> Result<Option<String>, Malformed> {
        match self.take(field)? {
            Json::Null => Ok(None),
            other => text(other, field, "a string or null").map(Some),
        }
    }

    fn flag(&mut self, field: &'static str) -> Result<bool, Malformed> {
        match self.take(field)? {
            Json::Bool(flag) => Ok(flag),
            other => Err(Malformed::Type { field, expected: "true or false", found: other.kind() }),
        }
    }

    fn list(&mut self, field: &'static str) -> Result<Vec<Json>, Malformed> {
        match self.take(field)? {
            Json::List(list) => Ok(list),
            other => Err(Malformed::Type { field, expected: "a list", found: other.kind() }),
        }
    }

    fn texts(&mut self, field: &'static str) -> Result<Vec<String>, Malformed> {
        self.list(field)?.into_iter().map(|json| text(json, field, "a list of strings")).collect()
    }
}

fn text(json: Json, field: &'static str, expected: &'static str) -> Result<String, Malformed> {
    match json {
        Json::Text(text) => Ok(text),
        other => Err(Malformed::Type { field, expected, found: other.kind() }),
    }
}
