//! `#[derive(Event)]`.

mod expand;
mod fallback;
mod hint;
mod model;
mod parse;
mod serde;

use proc_macro2::TokenStream;

pub(crate) fn derive(item: TokenStream) -> TokenStream {
    let input = match syn::parse2(item) {
        Ok(input) => input,
        Err(error) => return error.to_compile_error(),
    };
    match model::Event::new(&input) {
        Ok(event) => expand::expand(&event),
        Err((error, event)) => fallback::expand(&input, &error, &event),
    }
}
