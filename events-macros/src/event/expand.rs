//! The code of an event. Small, since programs have many events; see the benchmarks.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::Index;
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
        .zip(codec_of_each(event))
        .map(|(field, codec)| Expansion::new(&private, field, &codec))
        .collect();
    let codecs = codecs(event);
    let descriptions = fields.iter().map(|field| &field.description);
    let puts = fields.iter().map(|field| &field.put);
    let takes = fields.iter().map(|field| &field.take);
    let stands_in_fields = stands_in_fields(&private, &ident);
    quote! {
        const _: () = {
            #codecs
            #[automatically_derived]
            impl #private::Event for #ident {
                const NAME: &'static #private::core::primitive::str = #name;
                const FIELDS: &'static [#private::Field] = &[#(#descriptions),*];
                fn __encode(&self, to: &mut #private::Encoder)
                    -> #private::core::result::Result<(), #private::EncodeError>
                {
                    to.object()#(#puts)*.end()
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

/// What the fields need of their types: a codec each, as constants.
///
/// Plain types share one constant, because each costs compile time. A type that may be refused has
/// its own: of several complaints in one constant about one type the compiler prints only the first.
pub(super) fn codecs(event: &Event) -> TokenStream {
    let krate = &event.krate;
    let private = quote!(#krate::__private);
    let plain = event.fields.iter().filter(|field| field.plain).map(|field| &field.ty);
    let types = plain.clone();
    let plain =
        plain.map(|ty| quote_spanned!(at(ty.span())=> <#ty as #private::EventField>::__CODEC));
    let guarded = event.fields.iter().filter(|field| !field.plain).map(|field| {
        let (name, ty) = (guarded(field), &field.ty);
        let codec = guard(&private, &event.ident, field);
        quote!(const #name: #private::Codec<#ty> = #codec;)
    });
    quote! {
        const __PLAIN: (#(#private::Codec<#types>,)*) = (#(#plain,)*);
        #(#guarded)*
    }
}

/// The name of the codec of a field that is not plain.
fn guarded(field: &Field) -> Ident {
    format_ident!("__FIELD_{}", field.ident.unraw(), span = at(field.ident.span()))
}

/// The codec of each field, in order.
fn codec_of_each(event: &Event) -> Vec<TokenStream> {
    let mut plain = (0..).map(Index::from);
    let mut codec = |field: &Field| match field.plain {
        true => {
            let index = plain.next();
            quote!(__PLAIN.#index)
        }
        false => guarded(field).into_token_stream(),
    };
    event.fields.iter().map(&mut codec).collect()
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
    description: TokenStream,
    put: TokenStream,
    take: TokenStream,
}

impl Expansion {
    fn new(private: &TokenStream, field: &Field, codec: &TokenStream) -> Self {
        let Field { ident, ty, keys, .. } = field;
        let key = &keys[0];
        let description = quote!(#codec.named(#key));
        let put = quote!(.put(&#codec, #key, &self.#ident));
        let take = match keys.as_slice() {
            [key] => quote!(#codec.take(from, #key)?),
            keys => quote!(#codec.take_any(from, &[#(#keys),*])?),
        };
        let rust_name = ident.unraw().to_string();
        let renamed = (*key != rust_name).then(|| quote!(.renamed(#rust_name)));
        let optional = field.default.then(|| quote!(.optional()));
        let take = if field.default {
            quote_spanned! {at(ty.span())=>
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
