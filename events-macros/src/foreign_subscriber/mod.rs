//! `foreign_subscriber! { event = E, task = "…", queue = "…", … }`.

mod expand;
mod model;
mod parse;

use proc_macro2::TokenStream;

/// After an error nothing stands in for the declaration: nobody can name it.
pub(crate) fn declaration(arguments: TokenStream) -> TokenStream {
    match model::ForeignSubscriber::new(parse::parse(arguments)) {
        Ok(subscriber) => expand::expand(&subscriber),
        Err(error) => error.to_compile_error(),
    }
}
