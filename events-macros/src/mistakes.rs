//! Collects the mistakes of one item, so that all are reported at once.

use std::fmt::Display;

use quote::ToTokens;
use syn::Error;

#[derive(Debug, Default)]
pub(crate) struct Mistakes(Option<Error>);

impl Mistakes {
    /// Complains at these tokens.
    pub(crate) fn at(&mut self, tokens: impl ToTokens, message: impl Display) {
        self.add(Error::new_spanned(tokens, message));
    }

    pub(crate) fn add(&mut self, error: Error) {
        match &mut self.0 {
            Some(all) => all.combine(error),
            None => self.0 = Some(error),
        }
    }

    /// Fails if there was a mistake.
    pub(crate) fn check(self) -> Result<(), Error> {
        self.0.map_or(Ok(()), Err)
    }
}
