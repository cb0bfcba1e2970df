//! What stands in for an event that was refused, so that its uses are no errors too.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Error};

use super::parse;
use crate::mistakes::Mistakes;
use crate::spans::generated;

pub(super) fn expand(input: &DeriveInput, error: &Error) -> TokenStream {
    let error = error.to_compile_error();
    let mut reported = Mistakes::default();
    let krate =
        parse::arguments(&input.attrs, parse::STRUCT_KEYS, &mut reported).krate(&mut reported);
    let private = quote!(#krate::__private);
    let ident = generated(&input.ident);
    let (parameters, arguments, bounds) = input.generics.split_for_impl();
    quote! {
        #error
        #[automatically_derived]
        impl #parameters #private::Event for #ident #arguments #bounds {
            const NAME: &'static #private::core::primitive::str = "";
            const FIELDS: &'static [#private::Field] = &[];
            fn __encode(&self, _: &mut #private::Encoder)
                -> #private::core::result::Result<(), #private::EncodeError>
            {
                #private::refused()
            }
            fn __decode(_: &mut #private::Object)
                -> #private::core::result::Result<Self, #private::DecodeError>
            {
                #private::refused()
            }
        }
        #[automatically_derived]
        impl #parameters #private::EventField for #ident #arguments #bounds {
            const KIND: #private::JsonKind = #private::JsonKind::Object;
            fn __encode(&self, _: &mut #private::Encoder)
                -> #private::core::result::Result<(), #private::EncodeError>
            {
                #private::refused()
            }
            fn __decode(_: #private::Value)
                -> #private::core::result::Result<Self, #private::DecodeError>
            {
                #private::refused()
            }
        }
        #[automatically_derived]
        impl #parameters #private::NeverNull for #ident #arguments #bounds {}
    }
}
