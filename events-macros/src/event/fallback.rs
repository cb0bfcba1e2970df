//! What stands in for an event that was refused, so that its uses are no errors too.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields};

use super::expand;
use super::hint;
use super::model::Event;
use crate::spans::generated;

pub(super) fn expand(input: &DeriveInput, error: &Error, event: &Event) -> TokenStream {
    let error = error.to_compile_error();
    let types = input.generics.params.is_empty().then(|| expand::codecs(event));
    let stub = (!is_unsized(input)).then(|| stub(input, event));
    quote! {
        #error
        const _: () = {
            #types
            #stub
        };
    }
}

/// Whether an implementation would be an error of its own: events are values.
fn is_unsized(input: &DeriveInput) -> bool {
    match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Unit => false,
            fields => fields.iter().any(|field| hint::unsized_remedy(&field.ty).is_some()),
        },
        _ => false,
    }
}

fn stub(input: &DeriveInput, event: &Event) -> TokenStream {
    let krate = &event.krate;
    let private = quote!(#krate::__private);
    let ident = generated(&input.ident);
    let (parameters, arguments, bounds) = input.generics.split_for_impl();
    quote! {
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
