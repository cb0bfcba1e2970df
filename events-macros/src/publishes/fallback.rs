//! What stands in for a publisher that was refused, so that its publishing is no error too.

use proc_macro2::TokenStream;
use quote::quote;
use syn::Error;

use super::expand::with_prelude;
use super::parse::Parsed;
use crate::mistakes::Mistakes;

/// The item is no function.
pub(super) fn item_only(item: &TokenStream, error: &Error) -> TokenStream {
    let error = error.to_compile_error();
    quote!(#error #item)
}

pub(super) fn expand(item: &TokenStream, parsed: &Parsed, error: &Error) -> TokenStream {
    if parsed.function.body.is_none() || parsed.function.signature.constness.is_some() {
        return item_only(item, error);
    }
    let krate = parsed.arguments.krate(&mut Mistakes::default());
    let private = quote!(#krate::__private);
    let anything_goes = quote! {
        fn publish_after_commit<S: ?#private::core::marker::Sized, E>(
            _: &mut S,
            _: E,
        ) -> #private::core::result::Result<#private::EventId, #private::PublishError> {
            #private::refused()
        }
    };
    let error = error.to_compile_error();
    let function = with_prelude(&parsed.function, &anything_goes);
    quote!(#error #function)
}
