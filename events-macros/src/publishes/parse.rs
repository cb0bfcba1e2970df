//! The grammar of `#[publishes(…)]`.
//!
//! ```text
//! #[publishes(TheEvent, another::Event, crate = path)]
//! [async] fn name(…) [-> Type] { … }            // a function or a method, generic or not
//! ```

use proc_macro2::TokenStream;

use crate::function::Function;
use crate::keys::{Arguments, CRATE, Key};
use crate::mistakes::Mistakes;

const KEYS: &[Key] = &[CRATE];

pub(super) struct Parsed {
    pub(super) arguments: Arguments,
    pub(super) function: Function,
    /// What is wrong with the arguments already.
    pub(super) mistakes: Option<syn::Error>,
}

pub(super) fn parse(arguments: TokenStream, item: TokenStream) -> syn::Result<Parsed> {
    let function = Function::read("publishes", item)?;
    let mut found = Mistakes::default();
    let arguments = Arguments::parse(arguments, KEYS, &mut found);
    Ok(Parsed { arguments, function, mistakes: found.check().err() })
}
