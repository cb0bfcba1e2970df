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
    let guards = fields.iter().map(|field| &field.guard);
    let descriptions = fields.iter().map(|field| &field.description);
    let puts = fields.iter().map(|field| &field.put);
    let takes = fields.iter().map(|field| &field.take);
    let stands_in_fields = stands_in_fields(&private, &ident);
    quote! {
        const _: () = {
            #(#guards)*
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

/// The code of one field.
struct Expansion {
    guard: TokenStream,
    description: TokenStream,
    put: TokenStream,
    take: TokenStream,
}

impl Expansion {
    fn new(private: &TokenStream, event: &Ident, index: usize, field: &Field) -> Self {
        let Field { ident, ty, keys, .. } = field;
        let span = at(ty.span());
        let key = &keys[0];
        let guard_name = format_ident!("__FIELD_{index}", span = at(ident.span()));
        let (guard, description, put, take);
        if field.plain {
            guard = TokenStream::new();
            description = quote_spanned!(span=> <#ty as #private::EventField>::__FIELD.named(#key));
            put = quote_spanned!(span=> <#ty as #private::EventField>::__put(&self.#ident, #key, to)?;);
            take =
                quote_spanned!(span=> <#ty as #private::EventField>::__take(from, &[#(#keys),*])?);
        } else {
            guard = self::guard(private, event, field, &guard_name);
            description = quote!(#guard_name.named(#key));
            put = quote!(#guard_name.put(&self.#ident, #key, to)?;);
            take = quote!(#guard_name.take(from, &[#(#keys),*])?);
        }
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
            guard,
            description: quote!(#description #renamed #optional),
            put,
            take: quote!(#ident: #take),
        }
    }
}

/// Everything that a field needs of its type, as a constant, behind a trait of the field's own:
/// the trait is claimed in one place, so a type that does not have it is one error, which names
/// the field.
fn guard(private: &TokenStream, event: &Ident, field: &Field, name: &Ident) -> TokenStream {
    let Field { ident, ty, hint, .. } = field;
    let message =
        format!("event field `{event}.{ident}` has type `{{Self}}`, which can't stand in an event");
    let codec = quote_spanned!(at(ty.span())=> <#ty as EventField>::CODEC);
    quote! {
        const #name: #private::Codec<#ty> = {
            #[diagnostic::on_unimplemented(
                message = #message,
                label = #hint,
                note = "an event carries bool, integers up to 64 bits, f32/f64, String, Option/Vec/array/tuple/set of these, maps keyed by String, and structs that derive `Event`",
            )]
            trait EventField: #private::core::marker::Sized {
                const CODEC: #private::Codec<Self>;
            }
            #[diagnostic::do_not_recommend]
            impl<T: #private::EventField> EventField for T {
                const CODEC: #private::Codec<T> = #private::Codec::NEW;
            }
            #codec
        };
    }
}
