//! What stands in for a subscriber that was refused, so that its uses are no errors too.

use proc_macro2::TokenStream;
use quote::quote;
use syn::Error;

use super::parse::Parsed;
use crate::mistakes::Mistakes;
use crate::spans::generated;

/// The item is no function that could be registered.
pub(super) fn item_only(item: &TokenStream, error: &Error) -> TokenStream {
    let error = error.to_compile_error();
    quote!(#error #item)
}

pub(super) fn expand(item: &TokenStream, parsed: &Parsed, error: &Error) -> TokenStream {
    if parsed.function.signature.receiver().is_some() {
        return item_only(item, error); // where no type can be declared
    }
    let krate = parsed.arguments.krate(&mut Mistakes::default());
    let private = quote!(#krate::__private);
    let (visibility, ident) =
        (&parsed.function.visibility, generated(&parsed.function.signature.ident));
    let error = error.to_compile_error();
    quote! {
        #error
        #item
        #krate::__only_free_functions_can_be_registered!(#visibility #ident);
        #[automatically_derived]
        impl #private::SubscriberFunction for #ident {
            const SUBSCRIBER: &'static #private::Subscriber = #private::REFUSED_SUBSCRIBER;
        }
    }
}
