//! What is asked, and of whom.

use serde_json::{Map, Value};

use super::envelope::{Fields, unwrap};

/// What is asked.
#[derive(Debug, PartialEq)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) arguments: Map<String, Value>,
    pub(super) to: Addressees,
    pub(super) ticket: Value,
    pub(super) reply_to: Option<ReplyTo>,
    pub(super) clock: u64,
}

/// Whom it is asked of.
#[derive(Debug, PartialEq)]
pub(super) enum Addressees {
    All,
    These(Vec<String>),
    Like(String),
    /// By a rule that this worker cannot apply.
    Unknown(String),
}

#[derive(Debug, PartialEq)]
pub(super) struct ReplyTo {
    pub(super) exchange: String,
    pub(super) routing_key: String,
}

impl Request {
    /// # Errors
    /// It is none, with the reason.
    pub(super) fn read(text: &[u8]) -> Result<Self, String> {
        let contents = unwrap(text)?;
        let body = &contents.body;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let method = text(&body["method"]).ok_or("it has no `method`")?;
        let arguments = match &body["arguments"] {
            Value::Null => Fields::new(),
            Value::Object(arguments) => arguments.clone(),
            other => return Err(format!("its `arguments` are no object: {other}")),
        };
        let reply_to = &body["reply_to"];
        let reply_to = || {
            Some(ReplyTo {
                exchange: text(&reply_to["exchange"])?,
                routing_key: text(&reply_to["routing_key"])?,
            })
        };
        Ok(Self {
            method,
            arguments,
            to: Addressees::read(body),
            ticket: body["ticket"].clone(),
            reply_to: reply_to(),
            clock: contents.headers.get("clock").and_then(Value::as_u64).unwrap_or(0),
        })
    }

    /// Whether it is asked of the worker of this name.
    pub(super) fn is_for(&self, name: &str) -> bool {
        match &self.to {
            Addressees::All => true,
            Addressees::These(names) => names.iter().any(|known| known == name),
            Addressees::Like(pattern) => glob(pattern, name),
            Addressees::Unknown(_) => false,
        }
    }
}

impl Addressees {
    /// As kombu's mailboxes understand it. What is written there and cannot be read is asked of nobody: who
    /// is asked to end, say, must not be everybody for a mistake in a name.
    fn read(body: &Value) -> Self {
        let destination = &body["destination"];
        if is_something(destination) {
            return Self::These(strings(destination));
        }
        let (pattern, matcher) = (&body["pattern"], &body["matcher"]);
        if !is_something(pattern) || !is_something(matcher) {
            return Self::All;
        }
        let like = match (pattern.as_str(), matcher.as_str()) {
            (Some(pattern), Some("glob")) => Some(pattern.to_owned()),
            (Some(pattern), Some("pcre")) => as_glob(pattern),
            _ => None,
        };
        like.map_or_else(|| Self::Unknown(pattern.to_string()), Self::Like)
    }
}

/// Whether Python takes it for true.
fn is_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(yes) => *yes,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

/// A text, or the texts of a list: Python takes both for a list.
pub(super) fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::String(one) => vec![one.clone()],
        Value::Array(many) => {
            many.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect()
        }
        _ => Vec::new(),
    }
}

/// Whether a name fits a pattern of `*`, `?` and `[…]`, as Python's `fnmatch`.
fn glob(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.chars().collect::<Vec<_>>(), name.chars().collect::<Vec<_>>());
    let (mut at, mut in_name) = (0, 0);
    // Where to go on if it does not fit: behind the last star, one character further in the name.
    let mut retry = None;
    loop {
        match (pattern.get(at), name.get(in_name)) {
            (Some('*'), _) => {
                retry = Some((at + 1, in_name));
                at += 1;
                continue;
            }
            (None, None) => return true,
            (Some(_), Some(character)) => {
                if let Some(next) = one(&pattern, at, *character) {
                    (at, in_name) = (next, in_name + 1);
                    continue;
                }
            }
            _ => {}
        }
        match retry {
            Some((behind, from)) if from < name.len() => {
                (at, in_name) = (behind, from + 1);
                retry = Some((behind, from + 1));
            }
            _ => return false,
        }
    }
}

/// Where the pattern goes on if its next element, which is no star, fits the character.
fn one(pattern: &[char], at: usize, character: char) -> Option<usize> {
    match pattern[at] {
        '?' => Some(at + 1),
        '[' => {
            let negated = pattern.get(at + 1) == Some(&'!');
            let from = at + 1 + usize::from(negated);
            // The first of the class may be its closing bracket.
            let to = from + 1 + pattern.get(from + 1..)?.iter().position(|c| *c == ']')?;
            let class = &pattern[from..to];
            let range =
                |range: &[char]| range[1] == '-' && (range[0]..=range[2]).contains(&character);
            let fits = class.contains(&character) || class.windows(3).any(range);
            (fits != negated).then_some(to + 1)
        }
        plain => (plain == character).then_some(at + 1),
    }
}

/// A regular expression as such a pattern, if it is plain: characters, `.`, `.*`, `.+`, `^` and `$`. It
/// holds for names that begin so, as Python's `re.match`.
fn as_glob(expression: &str) -> Option<String> {
    let mut characters = expression.strip_prefix('^').unwrap_or(expression).chars().peekable();
    let mut pattern = String::new();
    let mut open = true;
    while let Some(character) = characters.next() {
        match character {
            '.' => {
                pattern.push('?');
                match characters.peek() {
                    Some('*') => pattern.replace_range(pattern.len() - 1.., "*"),
                    Some('+') => pattern.push('*'),
                    _ => continue,
                }
                characters.next();
            }
            '$' if characters.peek().is_none() => open = false,
            '\\' => match characters.next() {
                Some(plain) if !plain.is_alphanumeric() => pattern.push_str(&literal(plain)),
                _ => return None,
            },
            '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | '^' | '$' => return None,
            plain => {
                if matches!(characters.peek(), Some('*' | '+' | '?' | '{')) {
                    return None;
                }
                pattern.push(plain);
            }
        }
    }
    if open {
        pattern.push('*');
    }
    Some(pattern)
}

fn literal(character: char) -> String {
    match character {
        '*' | '?' | '[' => format!("[{character}]"),
        plain => plain.to_string(),
    }
}

#[cfg(test)]
mod tests;
