//! The registration of a subscriber. The function itself stays as it is.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;

use super::model::{Debounce, Subscriber};
use crate::delivery;
use crate::spans::{at, generated};
use crate::values::{duration_tokens, option_tokens};

pub(super) fn expand(item: &TokenStream, subscriber: &Subscriber) -> TokenStream {
    let krate = &subscriber.krate;
    let private = quote!(#krate::__private);
    let ident = generated(&subscriber.ident);
    let visibility = &subscriber.visibility;
    let event = delivery::event(krate, &subscriber.event);
    let registration = registration(subscriber);
    quote! {
        #item
        #krate::__only_free_functions_can_be_registered!(#visibility #ident);
        const _: () = {
            #event
            #[automatically_derived]
            impl #private::SubscriberFunction for #ident {
                const SUBSCRIBER: &'static #private::Subscriber = &#registration;
            }
            #private::inventory::submit! {
                #private::Registration::Subscriber(
                    <#ident as #private::SubscriberFunction>::SUBSCRIBER
                )
            }
        };
    }
}

fn registration(subscriber: &Subscriber) -> TokenStream {
    let krate = &subscriber.krate;
    let private = quote!(#krate::__private);
    let core = quote!(#private::core);
    let function = subscriber.ident.unraw().to_string();
    let task = match &subscriber.name {
        Some(name) => {
            let name = name.value();
            quote!(#name)
        }
        None => quote! {
            #krate::__dotted!("events.", __EVENT.event.name, ".", #core::module_path!(), "::", #function)
        },
    };
    let aliases = subscriber.aliases.iter().map(syn::LitStr::value);
    let delivery = subscriber.delivery.fields(krate);
    let max_retries = option_tokens(krate, subscriber.max_retries);
    let duration = |duration| duration_tokens(krate, duration);
    let retry_backoff = option_tokens(
        krate,
        subscriber.retry_backoff.map(|(initial, maximum)| {
            let (initial, maximum) =
                (duration(initial), option_tokens(krate, maximum.map(duration)));
            quote!(#private::Backoff { initial: #initial, maximum: #maximum })
        }),
    );
    let timeout = option_tokens(krate, subscriber.timeout.map(duration));
    let debounce = option_tokens(krate, debounce(subscriber));
    let needs = needs(subscriber);
    let handler = handler(subscriber);
    quote! {
        #private::Subscriber {
            task: #task,
            aliases: &[#(#aliases),*],
            event: __EVENT.event,
            function: #core::concat!(#core::module_path!(), "::", #function),
            #delivery
            max_retries: #max_retries,
            retry_backoff: #retry_backoff,
            timeout: #timeout,
            debounce: #debounce,
            needs: #needs,
            handler: #handler,
        }
    }
}

/// As `events_core::subscriber::Debounce::WINDOWS`.
const WINDOWS: u32 = 10;

/// The access to the field proves that it exists; its key may be another.
fn debounce(subscriber: &Subscriber) -> Option<TokenStream> {
    let (krate, event) = (&subscriber.krate, &subscriber.event);
    let Debounce { window, longest, by } = subscriber.debounce.as_ref()?;
    let private = quote!(#krate::__private);
    let longest = longest.unwrap_or(window.saturating_mul(WINDOWS));
    let (window, longest) = (duration_tokens(krate, *window), duration_tokens(krate, longest));
    let rust_name = by.unraw().to_string();
    Some(quote! {
        #private::Debounce {
            window: #window,
            longest: #longest,
            by: {
                const _: fn(&#event) = |event| {
                    let _ = &event.#by;
                };
                #private::key_of(__EVENT.event.fields, #rust_name)
            },
        }
    })
}

fn needs(subscriber: &Subscriber) -> TokenStream {
    let krate = &subscriber.krate;
    let needs =
        subscriber.takes.iter().skip(1).map(
            |ty| quote_spanned!(at(ty.span())=> <#ty as #krate::__private::Extract<'_>>::NEED),
        );
    quote!(#krate::__needs!(#(#needs),*))
}

/// The function behind one signature: decodes the event and extracts the arguments, then calls.
fn handler(subscriber: &Subscriber) -> TokenStream {
    let krate = &subscriber.krate;
    let private = quote!(#krate::__private);
    let result = quote!(#private::core::result::Result);
    let call = call(&private, subscriber);
    let unit = syn::parse_quote!(());
    let returns = subscriber.returns.as_ref().unwrap_or(&unit);
    let convert = quote_spanned! {at(returns.span())=>
        <#returns as #private::HandlerResult>::into_handler_result
    };
    let (variant, output, body) = if subscriber.is_async {
        let output = quote!(#private::HandlerFuture<'__a>);
        (quote!(Async), output, quote!(#private::handler_future(#call, #convert)))
    } else {
        let output = quote!(#result<(), #private::Failure>);
        (quote!(Blocking), output, quote!(#result::Ok(#convert(#call))))
    };
    quote! {{
        fn __events_call<'__a>(
            mut invocation: #private::Invocation<'__a>,
        ) -> #result<#output, #private::InvokeError> {
            #body
        }
        #private::Handler::#variant(__events_call)
    }}
}

fn call(private: &TokenStream, subscriber: &Subscriber) -> TokenStream {
    let ident: Ident = generated(&subscriber.ident);
    let event = &subscriber.event;
    let arguments = subscriber.takes.iter().enumerate().map(|(index, ty)| {
        let span = at(ty.span());
        if index == 0 {
            let read = quote!(__EVENT.read(invocation.payload)?);
            quote_spanned!(span=> <#ty as #private::Takes<#event>>::take(#read))
        } else {
            quote_spanned!(span=> <#ty as #private::Extract<'_>>::extract(&mut invocation)?)
        }
    });
    quote!(#ident(#(#arguments),*))
}
