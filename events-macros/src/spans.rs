//! Spans for generated code.

use proc_macro2::{Ident, Span};

/// Points errors at the user's token, while lints see generated code.
///
/// With the user's own span, `forbid(unsafe_code)` and every style lint of the user's crate would
/// judge what we generate.
pub(crate) fn at(span: Span) -> Span {
    Span::call_site().located_at(span)
}

/// The same identifier, as generated code.
pub(crate) fn generated(ident: &Ident) -> Ident {
    let mut ident = ident.clone();
    ident.set_span(at(ident.span()));
    ident
}
