//! The grammar of `#[event(…)]`.
//!
//! ```text
//! on the struct   #[event(name = "shop.order_placed", crate = path)]
//! on a field      #[event(default, rename = "id", alias = "identifier")]
//! ```

use syn::{Attribute, Meta};

use crate::keys::{Arguments, CRATE, Key};
use crate::mistakes::Mistakes;

pub(super) const STRUCT_KEYS: &[Key] = &[Key::new("name", "name = \"shop.order_placed\""), CRATE];

pub(super) const FIELD_KEYS: &[Key] = &[
    Key::new("default", "default"),
    Key::new("rename", "rename = \"id\""),
    Key::repeatable("alias", "alias = \"identifier\""),
];

/// Reads all `#[event(…)]` of a struct or field.
pub(super) fn arguments(
    attributes: &[Attribute],
    keys: &'static [Key],
    found: &mut Mistakes,
) -> Arguments {
    let mut arguments = Arguments::none(keys);
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("event")) {
        match &attribute.meta {
            Meta::List(list) => arguments.extend(list.tokens.clone(), found),
            other => found.at(other, format!("write `#[event({})]`, or remove it", keys[0].form)),
        }
    }
    for stray in std::mem::take(&mut arguments.types) {
        let written = quote::ToTokens::to_token_stream(&stray).to_string();
        found.at(stray, arguments.unknown(&written));
    }
    arguments
}
