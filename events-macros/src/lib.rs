//! The derive, the attributes and the procedural macro of events-core.
//!
//! Use them through events-core, which re-exports and documents them. Each folder is one macro and
//! works in the same three steps: `parse` reads the grammar, `model` knows every rule and refuses
//! what breaks one, `expand` writes the code and cannot fail. After an error `fallback` writes a
//! stand-in, so that one mistake is one message.

#![allow(missing_docs)] // they stand on the re-exports, where their examples compile and run

use proc_macro::TokenStream;

mod event;
mod foreign_subscriber;
mod publishes;
mod reconciles;
mod subscribes_to;

mod cron;
mod delivery;
mod function;
mod keys;
mod mistakes;
mod spans;
mod spelling;
mod values;

#[proc_macro_derive(Event, attributes(event))]
pub fn derive_event(item: TokenStream) -> TokenStream {
    event::derive(item.into()).into()
}

#[proc_macro_attribute]
pub fn subscribes_to(arguments: TokenStream, item: TokenStream) -> TokenStream {
    subscribes_to::attribute(arguments.into(), &item.into()).into()
}

#[proc_macro_attribute]
pub fn publishes(arguments: TokenStream, item: TokenStream) -> TokenStream {
    publishes::attribute(arguments.into(), &item.into()).into()
}

#[proc_macro_attribute]
pub fn reconciles(arguments: TokenStream, item: TokenStream) -> TokenStream {
    reconciles::attribute(arguments.into(), &item.into()).into()
}

#[proc_macro]
pub fn foreign_subscriber(arguments: TokenStream) -> TokenStream {
    foreign_subscriber::declaration(arguments.into()).into()
}
