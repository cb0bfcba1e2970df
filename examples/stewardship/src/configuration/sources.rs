//! What was given, by whom, under which key.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::mistakes::{ConfigurationError, Mistake, Origin};
use super::{Flags, KEYS};

/// The variables of this program begin so; two underscores stand for the dot of a key.
const PREFIX: &str = "STEWARDSHIP_";

/// Whether Kubernetes sets a variable of this name for whoever runs beside a service whose name begins
/// as ours, such as `stewardship-db`. That is not for us, and no mistake.
fn is_of_orchestrator(name: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.split("_PORT_").skip(1).any(names_port)
}

/// Whether it goes on as `5432_TCP` does, or `5432_TCP_ADDR`.
fn names_port(rest: &str) -> bool {
    let after = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
    after.len() < rest.len()
        && ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| after.starts_with(protocol))
}

/// Values under their keys, with dots: of several for a key, the one that wins.
pub(super) struct Sources {
    values: BTreeMap<String, (Origin, Value)>,
    /// All variables, for those with other names.
    variables: BTreeMap<String, String>,
    mistakes: Vec<Mistake>,
}

impl Sources {
    /// Reads the file, the environment and the flags, in this order.
    pub(super) fn read(
        flags: Flags,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigurationError> {
        let mut sources =
            Self { values: BTreeMap::new(), variables: BTreeMap::new(), mistakes: Vec::new() };
        if let Some(path) = flags.config {
            // Without the file all else may look wrong that is not.
            let table = table(&path).map_err(|mistake| ConfigurationError(vec![mistake]))?;
            sources.add_table("", table, &Origin::File(path));
        }
        for (name, value) in environment {
            sources.add_variable(&name.to_string_lossy(), value);
        }
        sources.add_flag("database", "--database", flags.database.map(Value::from_lossy));
        sources.add_flag("listen", "--listen", flags.listen.map(Value::String));
        sources.add_flag("worker", "--worker", flags.worker.map(Value::Boolean));
        Ok(sources)
    }

    fn add_table(&mut self, prefix: &str, table: Table, origin: &Origin) {
        for (key, value) in table {
            let key = format!("{prefix}{key}");
            match value {
                Value::Table(table) => self.add_table(&format!("{key}."), table, origin),
                value => drop(self.values.insert(key, (origin.clone(), value))),
            }
        }
    }

    fn add_variable(&mut self, name: &str, value: OsString) {
        let ours = name.strip_prefix(PREFIX);
        let key = ours.filter(|_| !is_of_orchestrator(name));
        let origin = Origin::Variable(name.to_owned());
        match (key.map(|key| key.to_ascii_lowercase().replace("__", ".")), value.into_string()) {
            (Some(key), Ok(text)) => {
                self.values.insert(key, (origin, Value::String(text)));
            }
            (Some(key), Err(_)) => {
                self.mistakes.push(Mistake::of_key(
                    &key,
                    Some(&origin),
                    "it is no text",
                    "write it in UTF-8",
                ));
            }
            (None, Ok(text)) => drop(self.variables.insert(name.to_owned(), text)),
            (None, Err(_)) => {} // somebody else's
        }
    }

    fn add_flag(&mut self, key: &str, flag: &'static str, value: Option<Value>) {
        if let Some(value) = value {
            self.values.insert(key.to_owned(), (Origin::Flag(flag), value));
        }
    }

    /// A variable of somebody else.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).filter(|text| !text.is_empty()).cloned()
    }

    /// What was given for this key, if it is of the type; a mistake if it is not.
    pub(super) fn take<T: DeserializeOwned>(&mut self, key: &str) -> Option<T> {
        self.take_with_origin(key).map(|(_, value)| value)
    }

    /// As [`take`](Self::take), with who gave it.
    pub(super) fn take_with_origin<T: DeserializeOwned>(
        &mut self,
        key: &str,
    ) -> Option<(Origin, T)> {
        let (origin, value) = self.values.remove(key)?;
        match read(&origin, &value, T::deserialize) {
            Ok(read) => Some((origin, read)),
            Err(error) => {
                self.refuse(key, &origin, error.message().trim());
                None
            }
        }
    }

    /// What was given for this key, as it was.
    pub(super) fn take_raw(&mut self, key: &str) -> Option<(Origin, Value)> {
        self.values.remove(key)
    }

    /// The keys that begin so and are still there, without it.
    pub(super) fn keys_of(&self, table: &str) -> Vec<String> {
        self.values.keys().filter_map(|key| key.strip_prefix(table)).map(str::to_owned).collect()
    }

    /// A duration, as a text.
    pub(super) fn duration(&mut self, key: &str, default: Duration) -> Duration {
        let Some((origin, text)) = self.take_with_origin::<String>(key) else { return default };
        humantime::parse_duration(&text).unwrap_or_else(|error| {
            self.refuse(key, &origin, format!("{text:?} is no duration: {error}"));
            default
        })
    }

    /// Remembers that a value cannot be used; what can is told from the key.
    pub(super) fn refuse(&mut self, key: &str, origin: &Origin, reason: impl AsRef<str>) {
        self.mistakes.push(Mistake::of_key(key, Some(origin), reason.as_ref(), &remedy(key)));
    }

    /// As [`refuse`](Self::refuse), with what to do.
    pub(super) fn refuse_with(&mut self, key: &str, origin: &Origin, reason: &str, remedy: &str) {
        self.mistakes.push(Mistake::of_key(key, Some(origin), reason, remedy));
    }

    /// Remembers that a value is needed and was not given.
    pub(super) fn missing(&mut self, key: &str) {
        let variable = format!("{PREFIX}{}", key.to_ascii_uppercase());
        let reason = format!(
            "nothing is configured; set `{key}` in the file or `{variable}` in the environment"
        );
        self.mistakes.push(Mistake::of_key(key, None, &reason, &remedy(key)));
    }

    /// Remembers a mistake that is none of a value.
    pub(super) fn add(&mut self, mistake: Mistake) {
        self.mistakes.push(mistake);
    }

    /// What nobody has taken nobody knows.
    pub(super) fn refuse_the_rest(&mut self) {
        let known: Vec<_> = KEYS.iter().map(|(key, _)| *key).collect();
        let remedy = format!("there are {}; correct it or remove it", known.join(", "));
        for (key, (origin, _)) in std::mem::take(&mut self.values) {
            self.refuse_with(&key, &origin, "there is no such key", &remedy);
        }
    }

    /// All that is wrong, if anything is.
    pub(super) fn mistakes(&mut self) -> Option<ConfigurationError> {
        let mistakes = std::mem::take(&mut self.mistakes);
        (!mistakes.is_empty()).then_some(ConfigurationError(mistakes))
    }
}

/// What to write for a key.
fn remedy(key: &str) -> String {
    let known = KEYS.iter().find(|(known, _)| *known == key);
    known.map_or_else(|| "correct it".to_owned(), |(_, write)| format!("write {write}"))
}

/// Reads a value. A variable is a text, also where a number is meant: it is read as TOML where that
/// fits, and as the text that it is otherwise.
pub(super) fn read<T>(
    origin: &Origin,
    value: &Value,
    as_type: impl Fn(Value) -> Result<T, toml::de::Error>,
) -> Result<T, toml::de::Error> {
    let meant = match (origin, value) {
        (Origin::Variable(_), Value::String(text)) => literal(text),
        _ => None,
    };
    match meant.map(&as_type) {
        Some(Ok(read)) => Ok(read),
        _ => as_type(value.clone()),
    }
}

/// What a text says in TOML, if it does.
pub(super) fn literal(text: &str) -> Option<Value> {
    let mut table: Table = toml::from_str(&format!("value = {text}")).ok()?;
    if table.len() == 1 { table.remove("value") } else { None }
}

fn table(path: &Path) -> Result<Table, Mistake> {
    let named = Origin::File(PathBuf::from(path));
    let text = std::fs::read_to_string(path).map_err(|error| {
        Mistake::new(format!("{named} cannot be read: {error}; give another with `--config`"))
    })?;
    // Its own words without the line that it shows: there may be a token in it.
    toml::from_str(&text).map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        Mistake::new(format!("{named} is not TOML, in line {line}: {}", error.message()))
    })
}

/// A path that is no UTF-8 names no database of ours; whoever opens it says so.
trait FromLossy {
    fn from_lossy(text: OsString) -> Self;
}

impl FromLossy for Value {
    fn from_lossy(text: OsString) -> Self {
        Self::String(text.to_string_lossy().into_owned())
    }
}
