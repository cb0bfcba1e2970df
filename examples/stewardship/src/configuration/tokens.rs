//! The tokens. What is said about them never says one, nor what stands where one may have been written
//! by mistake: the name of a file, of a key, of a scope.

use std::fs;

use toml::{Table, Value};

use super::Purpose;
use super::mistakes::{Mistake, Origin};
use super::sources::{Sources, literal};
use crate::serve::authorization::{Scope, Scopes, Tokens};

pub(super) const EXAMPLE: &str =
    "a list such as [{ token = \"…\", scopes = [\"monitor:read\"] }], or with `token_file`";

/// Shorter ones can be guessed.
const SHORTEST: usize = 16;

/// The tokens that are configured. A service without any would be open to nobody, or to all: it is
/// refused.
pub(super) fn tokens(purpose: Purpose, sources: &mut Sources) -> Tokens {
    let mut tokens = Tokens::default();
    let mut given = false;
    if let Some((origin, value)) = sources.take_raw("token") {
        given = true;
        match value.as_str().ok_or_else(|| "it is no text".to_owned()).and_then(checked) {
            Ok(token) => tokens.add(token, Scopes::ALL),
            Err(reason) => sources.refuse("token", &origin, reason),
        }
    }
    if let Some((origin, value)) = sources.take_raw("tokens") {
        given = true;
        match list(&origin, value) {
            Some(list) => list.iter().enumerate().for_each(|(index, entry)| match token(entry) {
                Ok((token, scopes)) => tokens.add(&token, scopes),
                Err(reason) => {
                    let number = index + 1;
                    sources.refuse("tokens", &origin, format!("entry {number}: {reason}"));
                }
            }),
            None => sources.refuse("tokens", &origin, "it is no list, or an empty one"),
        }
    }
    for key in ["token", "tokens"] {
        given |= refuse_table(sources, key);
    }
    if !given && purpose == Purpose::Serve {
        sources.add(Mistake::new(
            "`token`: nothing is configured, so that nobody could use the service; make one with \
             `openssl rand -hex 32` and set `STEWARDSHIP_TOKEN` in the environment or `token` in \
             the file; `tokens` has several, each with its scopes",
        ));
    }
    tokens
}

/// Refuses what is below a key that is no table, if there is something: what it is called there may be
/// a token, too.
fn refuse_table(sources: &mut Sources, key: &'static str) -> bool {
    let below = sources.keys_of(&format!("{key}."));
    let taken = below.iter().filter_map(|name| sources.take_raw(&format!("{key}.{name}"))).last();
    if let Some((origin, _)) = &taken {
        sources.refuse(key, origin, "it is a table");
    }
    taken.is_some()
}

fn list(origin: &Origin, value: Value) -> Option<Vec<Value>> {
    let value = match (origin, value) {
        (Origin::Variable(_), Value::String(text)) => literal(&text)?,
        (_, value) => value,
    };
    match value {
        Value::Array(list) if !list.is_empty() => Some(list),
        _ => None,
    }
}

fn token(entry: &Value) -> Result<(String, Scopes), String> {
    let entry = entry.as_table().ok_or("it is no table")?;
    if entry.keys().any(|key| !["token", "token_file", "scopes"].contains(&key.as_str())) {
        return Err("it has a key that is none of `token`, `token_file` and `scopes`".into());
    }
    let scopes = scopes(entry)?;
    let token = match (entry.get("token"), entry.get("token_file")) {
        (Some(Value::String(token)), None) => checked(token)?.to_owned(),
        (None, Some(Value::String(path))) => {
            let text = fs::read_to_string(path)
                .map_err(|error| format!("its `token_file` cannot be read: {error}"))?;
            checked(text.trim())
                .map_err(|reason| format!("what is in its `token_file`: {reason}"))?
                .to_owned()
        }
        _ => return Err("it needs one text, `token` or `token_file`".into()),
    };
    Ok((token, scopes))
}

fn scopes(entry: &Table) -> Result<Scopes, String> {
    let known = || Scope::ALL.map(Scope::name).join(", ");
    let listed = entry.get("scopes").and_then(Value::as_array).filter(|list| !list.is_empty());
    let listed = listed.ok_or_else(|| format!("it needs `scopes`, a list of {}", known()))?;
    let mut scopes = Scopes::NONE;
    for (index, name) in listed.iter().enumerate() {
        let scope = name.as_str().and_then(Scope::named).ok_or_else(|| {
            format!("its scope {} is none that there is; there are {}", index + 1, known())
        })?;
        scopes = scopes.with(scope);
    }
    Ok(scopes)
}

/// A token that a header can carry and nobody guesses.
fn checked(token: &str) -> Result<&str, String> {
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("it has characters that a header does not carry".into());
    }
    match token.len() {
        length if length < SHORTEST => {
            Err(format!("it has {length} characters, which can be guessed"))
        }
        _ => Ok(token),
    }
}
