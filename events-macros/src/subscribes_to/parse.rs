//! The grammar of `#[subscribes_to(…)]`.
//!
//! ```text
//! #[subscribes_to(TheEvent, key = value, …)]
//! [async] fn name(event: TheEvent, argument: Type, …) [-> Type] { … }
//! ```

use proc_macro2::TokenStream;

use crate::delivery;
use crate::function::Function;
use crate::keys::{Arguments, CRATE, Key};
use crate::mistakes::Mistakes;

const KEYS: &[Key] = &[
    delivery::QUEUE,
    Key::new("max_retries", "max_retries = 8"),
    Key::new("retry_backoff", "retry_backoff = \"1s\"` or `retry_backoff = \"1s..1h\""),
    Key::new("timeout", "timeout = \"30s\""),
    delivery::PRIORITY,
    delivery::DELAY,
    Key::new("debounce", "debounce = \"30s\""),
    Key::new("debounce_by", "debounce_by = field_of_the_event"),
    Key::new("debounce_max", "debounce_max = \"5m\""),
    delivery::RECONCILED_BY,
    delivery::FRESHNESS_ONLY,
    Key::new("name", "name = \"events.shop.order_placed\""),
    Key::repeatable("alias", "alias = \"events.old.name\""),
    CRATE,
];

pub(super) struct Parsed {
    pub(super) arguments: Arguments,
    pub(super) function: Function,
    /// What is wrong with the arguments already.
    pub(super) mistakes: Option<syn::Error>,
}

pub(super) fn parse(arguments: TokenStream, item: TokenStream) -> syn::Result<Parsed> {
    let function = Function::read("subscribes_to", item)?;
    let mut found = Mistakes::default();
    let arguments = Arguments::parse(arguments, KEYS, &mut found);
    Ok(Parsed { arguments, function, mistakes: found.check().err() })
}
