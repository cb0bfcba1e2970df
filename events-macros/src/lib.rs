//! The derive and the attributes of events-core.
use proc_macro::TokenStream;
#[proc_macro_derive(Event, attributes(event))]
pub fn derive_event(_item: TokenStream) -> TokenStream { TokenStream::new() }
#[proc_macro_attribute]
pub fn subscribes_to(_args: TokenStream, item: TokenStream) -> TokenStream { item }
#[proc_macro_attribute]
pub fn publishes(_args: TokenStream, item: TokenStream) -> TokenStream { item }
#[proc_macro_attribute]
pub fn reconciles(_args: TokenStream, item: TokenStream) -> TokenStream { item }
