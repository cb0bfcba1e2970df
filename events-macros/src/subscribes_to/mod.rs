//! `#[subscribes_to(E, …)]`.

mod expand;
mod fallback;
mod model;
mod parse;

use proc_macro2::TokenStream;

pub(crate) fn attribute(arguments: TokenStream, item: &TokenStream) -> TokenStream {
    let parsed = match parse::parse(arguments, item.clone()) {
        Ok(parsed) => parsed,
        Err(error) => return fallback::item_only(item, &error),
    };
    match model::Subscriber::new(&parsed) {
        Ok(subscriber) => expand::expand(item, &subscriber),
        Err(error) => fallback::expand(item, &parsed, &error),
    }
}
