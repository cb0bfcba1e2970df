//! The grammar of `#[reconciles]`.
//!
//! ```text
//! #[reconciles]
//! #[reconciles(every = "15m", jitter = "30s", run_on_start, deadline = "5m")]
//! #[reconciles(cron = "0 3 * * *", time_zone = "Europe/Berlin", deadline = "1h")]
//! #[reconciles(name = "sweep", crate = path)]
//! async fn name(scope: Scope, argument: State<T>, …) -> Result<Report, E> { … }
//! ```

use proc_macro2::TokenStream;

use crate::function::Function;
use crate::keys::{Arguments, CRATE, Key};
use crate::mistakes::Mistakes;

const KEYS: &[Key] = &[
    Key::new("every", "every = \"15m\""),
    Key::new("cron", "cron = \"0 3 * * *\""),
    Key::new("time_zone", "time_zone = \"UTC\""),
    Key::new("jitter", "jitter = \"30s\""),
    Key::new("run_on_start", "run_on_start"),
    Key::new("deadline", "deadline = \"5m\""),
    Key::new("name", "name = \"sweep_stewards\""),
    CRATE,
];

pub(super) struct Parsed {
    pub(super) arguments: Arguments,
    pub(super) function: Function,
    /// What is wrong with the arguments already.
    pub(super) mistakes: Option<syn::Error>,
}

pub(super) fn parse(arguments: TokenStream, item: TokenStream) -> syn::Result<Parsed> {
    let function = Function::read("reconciles", item)?;
    let mut found = Mistakes::default();
    let arguments = Arguments::parse(arguments, KEYS, &mut found);
    for stray in &arguments.types {
        let message = "a reconciler is for no event in particular; write `#[reconciles]` or `#[reconciles(every = \"15m\")]`";
        found.at(stray, message);
    }
    Ok(Parsed { arguments, function, mistakes: found.check().err() })
}
