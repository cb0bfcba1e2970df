//! The registration of a reconciler. The function itself stays as it is.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;

use super::model::{Cadence, Reconciler, Schedule};
use crate::spans::{at, generated};
use crate::values::duration_tokens;

pub(super) fn expand(item: &TokenStream, reconciler: &Reconciler) -> TokenStream {
    let krate = &reconciler.krate;
    let private = quote!(#krate::__private);
    let core = quote!(#private::core);
    let (visibility, ident) = (&reconciler.visibility, generated(&reconciler.ident));
    let function = reconciler.ident.unraw().to_string();
    let name = match &reconciler.name {
        Some(name) => {
            let name = name.value();
            quote!(#name)
        }
        None => quote!(#krate::__dotted!(#core::module_path!(), "::", #function)),
    };
    let cadence = match &reconciler.cadence {
        Some(given) => {
            let cadence = cadence(krate, given);
            quote!(#core::option::Option::Some(#cadence))
        }
        None => quote!(#core::option::Option::None),
    };
    let needs = reconciler
        .takes
        .iter()
        .skip(1)
        .map(|ty| quote_spanned!(at(ty.span())=> <#ty as #private::FromStates>::NEED));
    let handler = handler(&private, reconciler);
    quote! {
        #item
        #krate::__only_free_functions_can_be_registered!(#visibility #ident);
        const _: () = {
            #[automatically_derived]
            impl #private::ReconcilerFunction for #ident {
                const RECONCILER: &'static #private::Reconciler = &#private::Reconciler {
                    name: #name,
                    function: #core::concat!(#core::module_path!(), "::", #function),
                    file: #core::file!(),
                    line: #core::line!(),
                    cadence: #cadence,
                    needs: &[#(#needs),*],
                    handler: #handler,
                };
            }
            #private::inventory::submit! {
                #private::Registration::Reconciler(
                    <#ident as #private::ReconcilerFunction>::RECONCILER
                )
            }
        };
    }
}

fn cadence(krate: &TokenStream, cadence: &Cadence) -> TokenStream {
    let private = quote!(#krate::__private);
    let schedule = match &cadence.schedule {
        Schedule::Every(every) => {
            let every = duration_tokens(krate, *every);
            quote!(Every(#every))
        }
        Schedule::Cron { expression, time_zone } => quote!(Cron {
            expression: #private::Cow::Borrowed(#expression),
            time_zone: #private::Cow::Borrowed(#time_zone),
        }),
    };
    let core = quote!(#private::core);
    let deadline = match cadence.deadline {
        Some(deadline) => {
            let deadline = duration_tokens(krate, deadline);
            quote!(#core::option::Option::Some(#deadline))
        }
        None => quote!(#core::option::Option::None),
    };
    let jitter = duration_tokens(krate, cadence.jitter);
    let run_on_start = cadence.run_on_start;
    quote!(#private::Cadence {
        schedule: #private::Schedule::#schedule,
        jitter: #jitter,
        run_on_start: #run_on_start,
        deadline: #deadline,
    })
}

/// The function behind one signature.
fn handler(private: &TokenStream, reconciler: &Reconciler) -> TokenStream {
    let ident = generated(&reconciler.ident);
    let returns = &reconciler.returns;
    let arguments = reconciler.takes.iter().enumerate().map(|(index, ty)| {
        let span = at(ty.span());
        if index == 0 {
            quote_spanned!(span=> <#ty as #private::TakesScope>::take(scope))
        } else {
            quote_spanned!(span=> <#ty as #private::FromStates>::from_states(states)?)
        }
    });
    let convert = quote_spanned! {at(returns.span())=>
        <#returns as #private::ReconcilerResult>::into_reconciler_result
    };
    quote! {{
        fn __events_call<'__a>(
            scope: #private::Scope,
            states: &'__a #private::States,
        ) -> #private::core::result::Result<#private::ReconcilerFuture<'__a>, #private::InvokeError>
        {
            #private::reconciler_future(#ident(#(#arguments),*), #convert)
        }
        __events_call
    }}
}
