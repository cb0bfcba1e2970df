//! What a publisher is, and every rule about one that can be decided without knowing types.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Error, GenericParam, Type};

use super::parse::Parsed;
use crate::function::Function;
use crate::mistakes::Mistakes;

pub(super) struct Publisher {
    pub(super) krate: TokenStream,
    pub(super) function: String,
    pub(super) events: Vec<Declared>,
}

pub(super) struct Declared {
    pub(super) event: Type,
    /// Whether the body mentions the event's name.
    pub(super) mentioned: bool,
}

impl Publisher {
    pub(super) fn new(parsed: &Parsed) -> syn::Result<Self> {
        let mut found = Mistakes::default();
        if let Some(error) = &parsed.mistakes {
            found.add(error.clone());
        }
        let Parsed { arguments, function, .. } = parsed;
        let krate = arguments.krate(&mut found);
        check_function(function, &mut found);
        if arguments.types.is_empty() && parsed.mistakes.is_none() {
            let message = "name the events that the function publishes: `#[publishes(TheEvent)]`";
            found.add(Error::new(Span::call_site(), message));
        }
        let mut events: Vec<Declared> = Vec::new();
        for event in &arguments.types {
            check_event(event, function, &mut found);
            if events.iter().any(|declared| same(&declared.event, event)) {
                found.at(event, "this event is listed twice; keep one");
            }
            let mentioned = mentions(function, event);
            events.push(Declared { event: event.clone(), mentioned });
        }
        found.check()?;
        Ok(Self { krate, function: function.signature.ident.to_string(), events })
    }
}

fn check_function(function: &Function, found: &mut Mistakes) {
    let signature = &function.signature;
    if function.body.is_none() {
        found.at(
            signature,
            "a method without a body publishes nothing; write `#[publishes(..)]` on each implementation",
        );
    }
    if let Some(token) = &signature.constness {
        found.at(token, "a `const fn` can't publish; remove `const`");
    }
}

fn check_event(event: &Type, function: &Function, found: &mut Mistakes) {
    let Some(path) = path(event) else {
        found.at(event, "expected the path of an event, such as `OrderPlaced`");
        return;
    };
    let single = path.get_ident();
    if path.segments.first().is_some_and(|segment| segment.ident == "Self") {
        found.at(event, "`Self` is not known here; write the event's own name");
    }
    let generic = function.signature.generics.params.iter().any(|parameter| match parameter {
        GenericParam::Type(parameter) => single == Some(&parameter.ident),
        _ => false,
    });
    if generic {
        found.at(
            event,
            "an event that the caller chooses can't be declared; publish it with `events_core::unchecked::publish_after_commit`",
        );
    }
}

fn same(one: &Type, other: &Type) -> bool {
    one.to_token_stream().to_string() == other.to_token_stream().to_string()
}

fn path(event: &Type) -> Option<&syn::Path> {
    match event {
        Type::Path(path) if path.qself.is_none() => Some(&path.path),
        Type::Group(group) => path(&group.elem),
        _ => None,
    }
}

/// Whether the body contains the last segment of the event's path.
fn mentions(function: &Function, event: &Type) -> bool {
    fn contains(tokens: TokenStream, name: &syn::Ident) -> bool {
        tokens.into_iter().any(|token| match token {
            TokenTree::Ident(ident) => ident == *name,
            TokenTree::Group(group) => contains(group.stream(), name),
            _ => false,
        })
    }
    let name = path(event).and_then(|path| path.segments.last()).map(|segment| &segment.ident);
    match (&function.body, name) {
        (Some(body), Some(name)) => contains(body.to_token_stream(), name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::super::parse;
    use super::*;

    fn model(arguments: TokenStream, item: TokenStream) -> Result<Publisher, Vec<String>> {
        let parsed = parse::parse(arguments, item).expect("a function");
        Publisher::new(&parsed)
            .map_err(|error| error.into_iter().map(|error| error.to_string()).collect())
    }

    #[test]
    fn an_event_is_mentioned_if_the_body_has_its_name() {
        let publisher = model(
            quote!(shop::Placed, Paid),
            quote!(
                pub async fn buy(&self, paid: Paid) {
                    f(|| Placed { id: 1 })
                }
            ),
        )
        .unwrap_or_else(|errors| panic!("{errors:?}"));
        let mentioned: Vec<_> =
            publisher.events.iter().map(|declared| declared.mentioned).collect();
        assert_eq!(mentioned, [true, false]);
    }

    #[test]
    fn all_mistakes_of_one_publisher_are_reported_at_once() {
        let errors = model(
            quote!(A, A, Self, E, &B),
            quote!(
                const fn f<E>();
            ),
        )
        .err();
        assert_eq!(errors.expect("mistakes").len(), 6);
    }
}
