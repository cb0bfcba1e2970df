//! What every subscriber may say about its tasks, whether its handler is here or in another program.

use std::time::Duration;

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{LitStr, Path, Type};

use crate::keys::{Arguments, Key};
use crate::mistakes::Mistakes;
use crate::spans::at;
use crate::values::{self, duration_tokens, option_tokens};

pub(crate) const QUEUE: Key = Key::new("queue", "queue = \"stewardship\"");
pub(crate) const PRIORITY: Key = Key::new("priority", "priority = 0");
pub(crate) const DELAY: Key = Key::new("delay", "delay = \"5m\"");
pub(crate) const RECONCILED_BY: Key =
    Key::new("reconciled_by", "reconciled_by = path::to::reconciler");
pub(crate) const FRESHNESS_ONLY: Key = Key::new("freshness_only", "freshness_only");

pub(crate) struct Delivery {
    pub(crate) queue: Option<LitStr>,
    pub(crate) priority: i16,
    pub(crate) delay: Option<Duration>,
    pub(crate) reconciled_by: Option<Path>,
    pub(crate) freshness_only: bool,
}

impl Delivery {
    pub(crate) fn new(arguments: &Arguments, found: &mut Mistakes) -> Self {
        Self {
            queue: queue(arguments, found),
            priority: priority(arguments, found),
            delay: arguments.duration(DELAY.name, found),
            reconciled_by: arguments.path(RECONCILED_BY.name, found),
            freshness_only: freshness_only(arguments, found),
        }
    }

    /// The fields of the registered `Subscriber` that these keys are.
    pub(crate) fn fields(&self, krate: &TokenStream) -> TokenStream {
        let private = quote!(#krate::__private);
        let core = quote!(#private::core);
        let queue = option_tokens(krate, self.queue.as_ref().map(LitStr::value));
        let priority = self.priority;
        let delay = option_tokens(krate, self.delay.map(|delay| duration_tokens(krate, delay)));
        let reconciler = self.reconciled_by.as_ref().map(|path| {
            quote_spanned! {at(path.span())=>
                <#path as #private::ReconcilerFunction>::RECONCILER.name
            }
        });
        let reconciled_by = option_tokens(krate, reconciler);
        let freshness_only = self.freshness_only;
        quote! {
            file: #core::file!(),
            line: #core::line!(),
            queue: #queue,
            priority: #priority,
            delay: #delay,
            reconciled_by: #reconciled_by,
            freshness_only: #freshness_only,
        }
    }
}

/// Claims once that the event is one; everything else uses the constant.
pub(crate) fn event(krate: &TokenStream, event: &Type) -> TokenStream {
    let wired = quote_spanned!(at(event.span())=> <#event as #krate::__private::WiredEvent>::WIRED);
    quote!(const __EVENT: #krate::__private::Wired<#event> = #wired;)
}

fn queue(arguments: &Arguments, found: &mut Mistakes) -> Option<LitStr> {
    let queue = arguments.text(QUEUE.name, found)?;
    if !values::is_queue(&queue.value()) {
        let message = "a queue is named with 1 to 64 of the letters a-z, A-Z, 0-9, `-`, `_`, `.`";
        found.at(&queue, message);
    }
    Some(queue)
}

fn priority(arguments: &Arguments, found: &mut Mistakes) -> i16 {
    let Some((value, written)) = arguments.integer(PRIORITY.name, found) else { return 0 };
    i16::try_from(value).unwrap_or_else(|_| {
        found.at(written, "`priority` is a number from -32768 to 32767; smaller runs first");
        0
    })
}

fn freshness_only(arguments: &Arguments, found: &mut Mistakes) -> bool {
    let freshness_only = arguments.flag(FRESHNESS_ONLY.name, found);
    if freshness_only && let Some(key) = arguments.key(RECONCILED_BY.name) {
        found.at(
            key,
            "`freshness_only` says that nothing needs repair, `reconciled_by` names the repair; keep one",
        );
    }
    freshness_only
}
