//! The registration of a foreign subscriber.

use proc_macro2::TokenStream;
use quote::quote;

use super::model::ForeignSubscriber;
use crate::delivery;

pub(super) fn expand(subscriber: &ForeignSubscriber) -> TokenStream {
    let krate = &subscriber.krate;
    let private = quote!(#krate::__private);
    let core = quote!(#private::core);
    let none = quote!(#core::option::Option::None);
    let event = delivery::event(krate, &subscriber.event);
    let task = subscriber.task.value();
    let delivery = subscriber.delivery.fields(krate);
    quote! {
        const _: () = {
            #event
            const __SUBSCRIBER: &#private::Subscriber = &#private::Subscriber {
                task: #task,
                aliases: &[],
                event: __EVENT.event,
                function: #core::module_path!(),
                #delivery
                max_retries: #none,
                retry_backoff: #none,
                timeout: #none,
                debounce: #none,
                needs: &[],
                handler: #private::Handler::Foreign,
            };
            #private::inventory::submit! {
                #private::Registration::Subscriber(__SUBSCRIBER)
            }
        };
    }
}
