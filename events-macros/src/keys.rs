//! The grammar that all our attributes and `foreign_subscriber!` share, and the one place that reads it.
//!
//! ```text
//! arguments = ( argument "," )*
//! argument  = type                       // an event, where the attribute takes events
//!           | key "=" value              // queue = "slow"
//!           | key                        // freshness_only
//! ```

use std::time::Duration;

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Error, Expr, ExprLit, Lit, LitInt, LitStr, Path, Token, Type, UnOp};

use crate::mistakes::Mistakes;
use crate::{spelling, values};

/// A key that an attribute knows.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// How it is written, for messages: `queue = "stewardship"`.
    pub(crate) form: &'static str,
    pub(crate) repeatable: bool,
    /// Where it is wrong here but known elsewhere: what to write instead.
    pub(crate) refused: Option<&'static str>,
}

impl Key {
    pub(crate) const fn new(name: &'static str, form: &'static str) -> Self {
        Self { name, form, repeatable: false, refused: None }
    }

    pub(crate) const fn repeatable(name: &'static str, form: &'static str) -> Self {
        Self { repeatable: true, ..Self::new(name, form) }
    }

    pub(crate) const fn refused(name: &'static str, instead: &'static str) -> Self {
        Self { refused: Some(instead), ..Self::new(name, "") }
    }
}

/// `crate = path`, which every attribute takes.
pub(crate) const CRATE: Key = Key::new("crate", "crate = path::to::events_core");

/// What stands between the parentheses of an attribute.
pub(crate) struct Arguments {
    known: &'static [Key],
    /// The arguments without a key.
    pub(crate) types: Vec<Type>,
    entries: Vec<Entry>,
    /// The keys that were written, or meant, whether or not they could be read.
    mentioned: Vec<String>,
}

struct Entry {
    key: Ident,
    value: Option<Expr>,
}

impl Arguments {
    pub(crate) fn none(known: &'static [Key]) -> Self {
        Self { known, types: Vec::new(), entries: Vec::new(), mentioned: Vec::new() }
    }

    /// Reads the arguments of an attribute. What cannot be read is reported and left out, so that
    /// every mistake is found in one go.
    pub(crate) fn parse(tokens: TokenStream, known: &'static [Key], found: &mut Mistakes) -> Self {
        let mut arguments = Self::none(known);
        arguments.extend(tokens, found);
        arguments
    }

    /// Adds the arguments of one more attribute of the same name.
    pub(crate) fn extend(&mut self, tokens: TokenStream, found: &mut Mistakes) {
        let read = |input: ParseStream<'_>| {
            while !input.is_empty() {
                if let Err(error) = self.argument(input, found) {
                    found.add(error);
                    skip_argument(input);
                }
                if !input.is_empty()
                    && let Err(error) = input.parse::<Token![,]>()
                {
                    found.add(Error::new(error.span(), "expected `,`"));
                    if !self.at_key(input) {
                        skip_argument(input);
                        input.parse::<Option<Token![,]>>()?;
                    }
                }
            }
            Ok(())
        };
        if let Err(error) = read.parse2(tokens) {
            found.add(error);
        }
    }

    fn argument(&mut self, input: ParseStream<'_>, found: &mut Mistakes) -> syn::Result<()> {
        if !self.at_key(input) {
            let start = input.span();
            let argument: Type = input
                .parse()
                .map_err(|_| Error::new(start, "expected the path of a type, or `key = value`"))?;
            match misspelt(&argument).and_then(|written| self.near(&written)) {
                Some(near) => found.at(&argument, format!("did you mean the key `{near}`?")),
                None => self.types.push(argument),
            }
            return Ok(());
        }
        let key = input.call(Ident::parse_any)?;
        let written = key.to_string();
        self.mentioned.push(self.near(&written).map_or(written, str::to_owned));
        let value = match input.parse::<Option<Token![=]>>()? {
            Some(_) => Some(self.value(&key, input)?),
            None => None,
        };
        match self.known.iter().find(|known| key == known.name) {
            None => found.at(&key, self.unknown(&key.to_string())),
            Some(Key { refused: Some(instead), .. }) => found.at(&key, instead),
            Some(known) if !known.repeatable && self.has(known.name) => {
                found.at(&key, format!("`{key}` is given twice; keep one"));
            }
            Some(_) => self.entries.push(Entry { key, value }),
        }
        Ok(())
    }

    /// A key is followed by `=`, or is one that we know.
    fn at_key(&self, input: ParseStream<'_>) -> bool {
        let ahead = input.fork();
        let Ok(name) = Ident::parse_any(&ahead) else { return false };
        ahead.peek(Token![=])
            || (ahead.is_empty() || ahead.peek(Token![,]))
                && self.known.iter().any(|known| name == known.name)
    }

    fn value(&self, key: &Ident, input: ParseStream<'_>) -> syn::Result<Expr> {
        let missing = input.is_empty() || input.peek(Token![,]);
        if missing {
            return Err(Error::new_spanned(key, self.wants(key)));
        }
        if key == "crate" {
            // `crate` alone is a path, but no expression.
            let path = input.call(Path::parse_mod_style)?;
            return Ok(Expr::Path(syn::parse_quote!(#path)));
        }
        input.parse()
    }

    fn wants(&self, key: &Ident) -> String {
        match self.known.iter().find(|known| key == known.name) {
            Some(Key { refused: Some(instead), .. }) => (*instead).to_owned(),
            Some(known) => format!("write `{}`", known.form),
            None => self.unknown(&key.to_string()),
        }
    }

    pub(crate) fn unknown(&self, key: &str) -> String {
        if let Some(near) = self.near(key) {
            return format!("unknown key `{key}`; did you mean `{near}`?");
        }
        let names: Vec<_> = self.accepted().map(|name| format!("`{name}`")).collect();
        match names.as_slice() {
            [only] => format!("unknown key `{key}`; the only key is {only}"),
            names => format!("unknown key `{key}`; the keys are {}", names.join(", ")),
        }
    }

    /// The key that somebody who wrote this may have meant.
    fn near(&self, written: &str) -> Option<&'static str> {
        self.accepted().find(|name| spelling::is_near(written, name))
    }

    fn accepted(&self) -> impl Iterator<Item = &'static str> {
        self.known.iter().filter(|known| known.refused.is_none()).map(|known| known.name)
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.key(key).is_some()
    }

    /// Whether the key was written, even if something is wrong with it that is reported already.
    pub(crate) fn mentions(&self, key: &str) -> bool {
        self.mentioned.iter().any(|mentioned| mentioned == key)
    }

    /// The key as it was written, to complain at.
    pub(crate) fn key(&self, key: &str) -> Option<&Ident> {
        self.entries.iter().map(|entry| &entry.key).find(|written| *written == key)
    }

    /// The readings of the values of a key; those that `read` does not like are reported.
    fn all<T>(&self, key: &str, found: &mut Mistakes, read: impl Fn(&Expr) -> Option<T>) -> Vec<T> {
        let mut values = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.key == key) {
            match entry.value.as_ref().map(|value| read(transparent(value)).ok_or(value)) {
                Some(Ok(value)) => values.push(value),
                Some(Err(value)) => found.at(value, self.wants(&entry.key)),
                None => found.at(&entry.key, self.wants(&entry.key)),
            }
        }
        values
    }

    pub(crate) fn texts(&self, key: &str, found: &mut Mistakes) -> Vec<LitStr> {
        self.all(key, found, |value| match value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.clone()),
            _ => None,
        })
    }

    pub(crate) fn text(&self, key: &str, found: &mut Mistakes) -> Option<LitStr> {
        self.texts(key, found).pop()
    }

    /// A name on the wire.
    pub(crate) fn names(&self, key: &str, found: &mut Mistakes) -> Vec<LitStr> {
        let names = self.texts(key, found);
        for name in &names {
            if !values::is_dotted(&name.value()) {
                found.at(name, format!("this can't be a name on the wire; {}", values::DOTTED));
            }
        }
        names
    }

    /// An integer, with the tokens to complain at.
    pub(crate) fn integer(&self, key: &str, found: &mut Mistakes) -> Option<(i128, Expr)> {
        let read = |value: &Expr| Some((integer(value)?, value.clone()));
        self.all(key, found, read).pop()
    }

    /// A duration that is longer than nothing.
    pub(crate) fn duration(&self, key: &str, found: &mut Mistakes) -> Option<Duration> {
        let text = self.text(key, found)?;
        match values::duration(&text.value()) {
            Ok(duration) if duration.is_zero() => {
                found.at(text, format!("`{key}` must be longer than zero"));
                None
            }
            Ok(duration) => Some(duration),
            Err(message) => {
                found.at(text, message);
                None
            }
        }
    }

    pub(crate) fn path(&self, key: &str, found: &mut Mistakes) -> Option<Path> {
        self.all(key, found, |value| match value {
            Expr::Path(path) if path.qself.is_none() && path.attrs.is_empty() => {
                Some(path.path.clone())
            }
            _ => None,
        })
        .pop()
    }

    pub(crate) fn ident(&self, key: &str, found: &mut Mistakes) -> Option<Ident> {
        self.all(key, found, |value| match value {
            Expr::Path(path) if path.qself.is_none() => path.path.get_ident().cloned(),
            _ => None,
        })
        .pop()
    }

    pub(crate) fn flag(&self, key: &str, found: &mut Mistakes) -> bool {
        for entry in self.entries.iter().filter(|entry| entry.key == key) {
            if let Some(value) = &entry.value {
                found.at(value, format!("`{key}` takes no value; write `{key}` alone"));
            }
        }
        self.has(key)
    }

    /// The path to events-core.
    pub(crate) fn krate(&self, found: &mut Mistakes) -> TokenStream {
        match self.path(CRATE.name, found) {
            Some(path) => path.to_token_stream(),
            None => quote!(::events_core),
        }
    }
}

/// The word that this type is, if it looks like a key without its value rather than like a type.
fn misspelt(argument: &Type) -> Option<String> {
    let Type::Path(path) = argument else { return None };
    let word = path.path.get_ident()?.to_string();
    word.starts_with(|first: char| first.is_ascii_lowercase()).then_some(word)
}

/// Skips what cannot be read, to the next comma.
fn skip_argument(input: ParseStream<'_>) {
    while !input.is_empty() && !input.peek(Token![,]) {
        let _ = input.parse::<proc_macro2::TokenTree>();
    }
}

/// Fragments of `macro_rules!` arrive in invisible groups.
fn transparent(mut value: &Expr) -> &Expr {
    while let Expr::Group(group) = value {
        value = &group.expr;
    }
    value
}

fn integer(value: &Expr) -> Option<i128> {
    let parse = |digits: &LitInt| digits.base10_parse::<i128>().ok();
    match transparent(value) {
        Expr::Lit(ExprLit { lit: Lit::Int(digits), .. }) => parse(digits),
        Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => match transparent(&unary.expr) {
            Expr::Lit(ExprLit { lit: Lit::Int(digits), .. }) => parse(digits).map(|value| -value),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: &[Key] = &[
        Key::new("queue", "queue = \"slow\""),
        Key::new("priority", "priority = 0"),
        Key::repeatable("alias", "alias = \"old.name\""),
        Key::new("freshness_only", "freshness_only"),
        CRATE,
    ];

    fn parse(tokens: TokenStream) -> (Arguments, Mistakes) {
        let mut found = Mistakes::default();
        (Arguments::parse(tokens, KEYS, &mut found), found)
    }

    fn messages(found: Mistakes) -> Vec<String> {
        let error = found.check().err();
        error.into_iter().flatten().map(|error| error.to_string()).collect()
    }

    #[test]
    fn types_keys_and_flags_stand_in_any_order() {
        let (arguments, mut found) = parse(quote!(
            a::B,
            priority = -3,
            alias = "x",
            freshness_only,
            alias = "y",
            crate = crate::z,
        ));
        assert_eq!(arguments.types.len(), 1);
        assert_eq!(arguments.integer("priority", &mut found).map(|(value, _)| value), Some(-3));
        assert_eq!(arguments.texts("alias", &mut found).len(), 2);
        assert!(arguments.flag("freshness_only", &mut found));
        assert_eq!(arguments.krate(&mut found).to_string(), "crate :: z");
        assert_eq!(messages(found), Vec::<String>::new());
    }

    #[test]
    fn a_type_that_resembles_a_key_is_a_type() {
        let (arguments, found) = parse(quote!(Queue, Alias, queue = "slow"));
        assert_eq!(arguments.types.len(), 2);
        assert_eq!(messages(found), Vec::<String>::new());
        let (_, found) = parse(quote!(A, freshness_onyl));
        assert_eq!(messages(found), ["did you mean the key `freshness_only`?"]);
    }

    #[test]
    fn every_mistake_is_reported() {
        let (arguments, mut found) =
            parse(quote!(queu = "a", queue = 1, queue = "b", priority =, alias = "a" "b"));
        assert!(arguments.text("queue", &mut found).is_none());
        assert_eq!(
            messages(found),
            [
                "unknown key `queu`; did you mean `queue`?",
                "`queue` is given twice; keep one",
                "write `priority = 0`",
                "expected `,`",
                "write `queue = \"slow\"`",
            ]
        );
    }
}
