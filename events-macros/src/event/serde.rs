//! The serde attributes under which one type would have two JSON forms: serde's and the event's.

use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, ExprLit, Lit, LitStr, Meta, Token};

use crate::mistakes::Mistakes;

/// Refuses serde attributes of the struct; `name` is the event's pinned name.
pub(super) fn check_struct(attributes: &[Attribute], name: Option<&LitStr>, found: &mut Mistakes) {
    for meta in metas(attributes) {
        let remedy = match key(&meta).as_str() {
            "rename" if is_text(&meta, name) => continue,
            "rename" => "pin the event's name with `#[event(name = \"…\")]`",
            "rename_all" | "rename_all_fields" => {
                "name the fields as readers see them, or write `#[event(rename = \"…\")]` on each"
            }
            "tag" | "content" | "untagged" => {
                "remove it: the task already says which event it carries"
            }
            "transparent" => "remove it: an event is an object with the names of its fields",
            "into" | "from" | "try_from" | "remote" => {
                "declare an event of its own and convert it in the handler"
            }
            _ => continue,
        };
        refuse(&meta, remedy, found);
    }
}

/// Refuses serde attributes of a field; `rename` is what the event's own attribute says.
pub(super) fn check_field(attributes: &[Attribute], rename: Option<&LitStr>, found: &mut Mistakes) {
    for meta in metas(attributes) {
        let remedy = match key(&meta).as_str() {
            "rename" if is_text(&meta, rename) => continue,
            "rename" => "write `#[event(rename = \"…\")]`, beside it or in its place",
            "flatten" => "let the field be a nested event, or spell out its fields",
            "skip" | "skip_serializing" | "skip_deserializing" => {
                "remove it: every field of an event travels; what doesn't has no place in one"
            }
            "skip_serializing_if" => {
                "remove it: an empty `Option` is written as `null`, and readers accept its absence"
            }
            "with" | "serialize_with" | "deserialize_with" | "getter" => {
                "store the field in the form that travels, such as `String`"
            }
            _ => continue,
        };
        refuse(&meta, remedy, found);
    }
}

fn refuse(meta: &Meta, remedy: &str, found: &mut Mistakes) {
    let key = key(meta);
    found.at(
        meta,
        format!("`#[serde({key})]` would make serde's JSON differ from the event's; {remedy}"),
    );
}

/// What serde's attributes say; those that serde itself will refuse are left to it.
fn metas(attributes: &[Attribute]) -> Vec<Meta> {
    let parser = Punctuated::<Meta, Token![,]>::parse_terminated;
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("serde"))
        .filter_map(|attribute| attribute.parse_args_with(parser).ok())
        .flatten()
        .collect()
}

fn key(meta: &Meta) -> String {
    meta.path().get_ident().map(ToString::to_string).unwrap_or_default()
}

fn is_text(meta: &Meta, expected: Option<&LitStr>) -> bool {
    let (Meta::NameValue(meta), Some(expected)) = (meta, expected) else { return false };
    matches!(&meta.value, Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) if text.value() == expected.value())
}
