//! The body of a publisher: what it may publish, and how, stands before what the user wrote.

use proc_macro2::{Delimiter, Group, TokenStream};
use quote::{quote, quote_spanned};
use syn::Attribute;
use syn::parse::{ParseStream, Parser};
use syn::spanned::Spanned;

use super::model::Publisher;
use crate::function::Function;
use crate::spans::at;

pub(super) fn expand(function: &Function, publisher: &Publisher) -> TokenStream {
    with_prelude(function, &prelude(publisher))
}

/// The function with `prelude` at the head of its body.
pub(super) fn with_prelude(function: &Function, prelude: &TokenStream) -> TokenStream {
    let Function { attributes, visibility, signature, body } = function;
    let body = body.as_ref().map(|body| {
        let (inner, statements) = split(body.stream());
        let mut body = Group::new(Delimiter::Brace, quote!(#inner #prelude #statements));
        body.set_span(function.body.as_ref().map_or(body.span(), Group::span));
        body
    });
    quote!(#(#attributes)* #visibility #signature #body)
}

/// Inner attributes, and the rest.
fn split(body: TokenStream) -> (TokenStream, TokenStream) {
    let read = |input: ParseStream<'_>| {
        let attributes = input.call(Attribute::parse_inner)?;
        Ok((quote!(#(#attributes)*), input.parse()?))
    };
    read.parse2(body.clone()).unwrap_or_else(|_| (TokenStream::new(), body))
}

fn prelude(publisher: &Publisher) -> TokenStream {
    let krate = &publisher.krate;
    let private = quote!(#krate::__private);
    let core = quote!(#private::core);
    let function = &publisher.function;
    let message = format!("`{function}` publishes `{{Self}}` without declaring it");
    let label = format!("not listed in `#[publishes(..)]` of `{function}`");
    let note = format!("add `{{Self}}` to the `#[publishes(..)]` of `{function}`");
    let impls = publisher.events.iter().map(|declared| {
        let event = &declared.event;
        quote_spanned! {at(event.span())=>
            impl __Declared for #event {
                const WIRED: #private::Wired<#event> = <#event as #private::WiredEvent>::WIRED;
            }
        }
    });
    let count = publisher.events.len();
    let declared = publisher.events.iter().map(|declared| {
        let (event, mentioned) = (&declared.event, declared.mentioned);
        quote_spanned! {at(event.span())=>
            #private::Declared::new(<#event as __Declared>::WIRED.event, #mentioned)
        }
    });
    quote! {
        #[diagnostic::on_unimplemented(message = #message, label = #label, note = #note)]
        trait __Declared: #core::marker::Sized {
            const WIRED: #private::Wired<Self>;
        }
        #(#impls)*
        fn publish_after_commit<S, E>(
            session: &mut S,
            event: E,
        ) -> #core::result::Result<#private::EventId, #private::PublishError>
        where
            S: #private::Session + ?#core::marker::Sized,
            E: __Declared,
        {
            E::WIRED.publish(session, event, &__PUBLISHER)
        }
        fn __events_anchor() {}
        static __EVENTS: [#private::Declared; #count] = [#(#declared),*];
        static __PUBLISHER: #private::Publisher = #private::Publisher {
            module: #core::module_path!(),
            function: #function,
            anchor: #private::anchor(__events_anchor),
            file: #core::file!(),
            line: #core::line!(),
            events: &__EVENTS,
        };
        #private::inventory::submit! { #private::Registration::Publisher(&__PUBLISHER) }
    }
}
