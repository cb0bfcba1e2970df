//! `#[reconciles]`.

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
    match model::Reconciler::new(&parsed) {
        Ok(reconciler) => expand::expand(item, &reconciler),
        Err(error) => fallback::expand(item, &parsed, &error),
    }
}
