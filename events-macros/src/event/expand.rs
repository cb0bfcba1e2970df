//! The code of an event. Small, since programs have many events; see the benchmarks.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;

use super::model::{Event, Field};
use crate::spans::{at, generated};

pub(super) fn expand(event: &Event) -> TokenStream {
    let krate = &event.krate;
    let private = quote!(#krate::__private);
    let ident = generated(&event.ident);
    let name = name(event);
    let fields: Vec<_> = event
        .fields
        .iter()
        .enumerate()
        .map(|(index, field)| Expansion::new(&private, &event.ident, index, field))
        .collect();
    let codecs = fields.iter().map(|field| &field.codec);
    let descriptions = fields.iter().map(|field| &field.description);
    let puts = fields.iter().map(|field| &field.put);
    let takes = fields.iter().map(|field| &field.take);
    let stands_in_fields = stands_in_fields(&private, &ident);
    quote! {
        const _: () = {
            #(#codecs)*
            #[automatically_derived]
            impl #private::Event for #ident {
                const NAME: &'static #private::core::primitive::str = #name;
                const FIELDS: &'static [#private::Field] = &[#(#descriptions),*];
                fn __encode(&self, to: &mut #private::Encoder)
                    -> #private::core::result::Result<(), #private::EncodeError>
                {
                    to.begin_object()?;
                    #(#puts)*
                    to.end_object();
                    #private::core::result::Result::Ok(())
                }
                fn __decode(from: &mut #private::Object)
                    -> #private::core::result::Result<Self, #private::DecodeError>
                {
                    #private::core::result::Result::Ok(Self { #(#takes),* })
                }
            }
            #stands_in_fields
        };
    }
}

/// The codecs alone: they complain about types that may not stand in an event.
pub(super) fn codecs(event: &Event) -> TokenStream {
    let krate = &event.krate;
    let private = quote!(#krate::__private);
    let codecs = event
        .fields
        .iter()
        .enumerate()
        .map(|(index, field)| Expansion::new(&private, &event.ident, index, field).codec);
    quote!(#(#codecs)*)
}

fn name(event: &Event) -> TokenStream {
    let krate = &event.krate;
    match &event.name {
        Some(name) => {
            let name = name.value(); // without the user's span
            quote!(#name)
        }
        None => {
            let ident = event.ident.unraw().to_string();
            quote!(#krate::__dotted!(#krate::__private::core::module_path!(), "::", #ident))
        }
    }
}

/// An event may stand in a field of another one.
fn stands_in_fields(private: &TokenStream, ident: &Ident) -> TokenStream {
    quote! {
        #[automatically_derived]
        impl #private::EventField for #ident {
            const KIND: #private::JsonKind = #private::JsonKind::Object;
            const NESTED: #private::core::option::Option<fn() -> &'static [#private::Field]> =
                #private::core::option::Option::Some(#private::fields_of::<Self>);
            fn __encode(&self, to: &mut #private::Encoder)
                -> #private::core::result::Result<(), #private::EncodeError>
            {
                #private::Event::__encode(self, to)
            }
            fn __decode(value: #private::Value)
                -> #private::core::result::Result<Self, #private::DecodeError>
            {
                #private::nested(value)
            }
        }
        #[automatically_derived]
        impl #private::NeverNull for #ident {}
    }
}

/// The code of one field. What it needs of its type is one constant, the codec, because a type that
/// may not stand in an event is complained about wherever that is claimed of it.
struct Expansion {
    codec: TokenStream,
    description: TokenStream,
    put: TokenStream,
    take: TokenStream,
}

impl Expansion {
    fn new(private: &TokenStream, event: &Ident, index: usize, field: &Field) -> Self {
        let Field { ident, ty, keys, .. } = field;
        let span = at(ty.span());
        let key = &keys[0];
        let codec_name = format_ident!("__FIELD_{index}", span = at(ident.span()));
        let codec = if field.plain {
            quote_spanned!(span=> <#ty as #private::EventField>::__CODEC)
        } else {
            guard(private, event, field)
        };
        let codec = quote!(const #codec_name: #private::Codec<#ty> = #codec;);
        let description = quote!(#codec_name.named(#key));
        let put = quote!(#codec_name.put(&self.#ident, #key, to)?;);
        let take = quote!(#codec_name.take(from, &[#(#keys),*])?);
        let rust_name = ident.unraw().to_string();
        let renamed = (*key != rust_name).then(|| quote!(.renamed(#rust_name)));
        let optional = field.default.then(|| quote!(.optional()));
        let take = if field.default {
            quote_spanned! {span=>
                if from.has(&[#(#keys),*]) {
                    #take
                } else {
                    <#ty as #private::core::default::Default>::default()
                }
            }
        } else {
            take
        };
        Self {
            codec,
            description: quote!(#description #renamed #optional),
            put,
            take: quote!(#ident: #take),
        }
    }
}

/// The codec of a type that may be refused, behind a trait of the field's own, so that the refusal
/// names the field.
fn guard(private: &TokenStream, event: &Ident, field: &Field) -> TokenStream {
    let Field { ident, ty, hint, .. } = field;
    let message =
        format!("event field `{event}.{ident}` has type `{{Self}}`, which can't stand in an event");
    let claim = quote_spanned!(at(ty.span())=> <#ty as EventField>::CODEC);
    quote! {{
        #[diagnostic::on_unimplemented(
            message = #message,
            label = #hint,
            note = "an event carries bool, integers up to 64 bits, f32/f64, String, Option (of no Option)/Vec/array/tuple/set of these, maps keyed by String, and structs that derive `Event`",
        )]
        trait EventField: #private::core::marker::Sized {
            const CODEC: #private::Codec<Self>;
        }
        #[diagnostic::do_not_recommend]
        impl<T: #private::EventField> EventField for T {
            const CODEC: #private::Codec<T> = <T as #private::EventField>::__CODEC;
        }
        #claim
    }}
}
