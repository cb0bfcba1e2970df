//! What an event is, and every rule about one that can be decided without knowing types.

use std::collections::HashMap;

use proc_macro2::{Ident, TokenStream};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::{Data, DeriveInput, Fields, LitStr, Type};

use super::{hint, parse, serde};
use crate::mistakes::Mistakes;

pub(super) struct Event {
    pub(super) krate: TokenStream,
    pub(super) ident: Ident,
    /// The name on the wire, if it is pinned.
    pub(super) name: Option<LitStr>,
    pub(super) fields: Vec<Field>,
}

pub(super) struct Field {
    pub(super) ident: Ident,
    pub(super) ty: Type,
    /// The JSON key, then the aliases.
    pub(super) keys: Vec<String>,
    pub(super) default: bool,
    /// Whether the tokens alone say that the type may stand in an event.
    pub(super) plain: bool,
    /// What to write instead, should the type be refused.
    pub(super) hint: String,
}

impl Event {
    /// The event; or all mistakes, beside what could be understood of it.
    pub(super) fn new(input: &DeriveInput) -> Result<Self, (syn::Error, Self)> {
        let mut found = Mistakes::default();
        let arguments = parse::arguments(&input.attrs, parse::STRUCT_KEYS, &mut found);
        let name = arguments.names("name", &mut found).pop();
        let krate = arguments.krate(&mut found);
        serde::check_struct(&input.attrs, name.as_ref(), &mut found);
        check_generics(input, &mut found);
        let fields = fields(input, &mut found);
        check_keys(&fields, &mut found);
        let fields = fields.into_iter().map(|(_, field)| field).collect();
        let event = Self { krate, ident: input.ident.clone(), name, fields };
        match found.check() {
            Ok(()) => Ok(event),
            Err(error) => Err((error, event)),
        }
    }
}

fn check_generics(input: &DeriveInput, found: &mut Mistakes) {
    let ident = &input.ident;
    if let Some(parameter) = input.generics.params.first() {
        let message = match parameter {
            syn::GenericParam::Lifetime(_) => format!(
                "event `{ident}` can't borrow: its handlers run later; own the data, with `String` for `&str`"
            ),
            _ => format!(
                "event `{ident}` can't be generic: a task is one event of one type; declare a struct for each"
            ),
        };
        found.at(&input.generics.params, message);
    } else if let Some(clause) = &input.generics.where_clause {
        found.at(clause, format!("event `{ident}` can't have a where clause; remove it"));
    }
}

/// The fields, each beside the field as it was written, to complain at.
fn fields<'i>(input: &'i DeriveInput, found: &mut Mistakes) -> Vec<(&'i syn::Field, Field)> {
    let ident = &input.ident;
    let refused = |is: &str, remedy: &str| {
        format!("event `{ident}` can't be {is}: an event is a struct with named fields; {remedy}")
    };
    let data = match &input.data {
        Data::Struct(data) => data,
        Data::Enum(data) => {
            let remedy = "declare one event for each variant";
            found.at(data.enum_token, refused("an enum", remedy));
            return Vec::new();
        }
        Data::Union(data) => {
            found.at(data.union_token, refused("a union", "write `struct`"));
            return Vec::new();
        }
    };
    match &data.fields {
        Fields::Named(fields) => fields
            .named
            .iter()
            .filter_map(|field| Some((field, self::field(ident, field, found)?)))
            .collect(),
        Fields::Unnamed(fields) => {
            let remedy = "name the fields, since JSON objects have names";
            found.at(fields, refused("a tuple struct", remedy));
            Vec::new()
        }
        Fields::Unit => {
            let remedy = format!("write `struct {ident} {{}}` if it carries nothing");
            found.at(ident, refused("a unit struct", &remedy));
            Vec::new()
        }
    }
}

fn field(event: &Ident, field: &syn::Field, found: &mut Mistakes) -> Option<Field> {
    let ident = field.ident.clone()?;
    let arguments = parse::arguments(&field.attrs, parse::FIELD_KEYS, found);
    let rename = arguments.text("rename", found);
    serde::check_field(&field.attrs, rename.as_ref(), found);
    let aliases = arguments.texts("alias", found);
    for key in rename.iter().chain(&aliases) {
        if key.value().is_empty() {
            found.at(key, "a JSON key can't be empty; write the name that readers see");
        }
    }
    let rust_name = ident.unraw().to_string();
    let key = rename.as_ref().map_or(rust_name, LitStr::value);
    let keys = std::iter::once(key).chain(aliases.iter().map(LitStr::value)).collect();
    if let Some(remedy) = hint::unsized_remedy(&field.ty) {
        found.at(
            &field.ty,
            format!("event field `{event}.{ident}` has a type that can't be a value of its own; {remedy}"),
        );
        return None;
    }
    Some(Field {
        plain: hint::is_plain(&field.ty),
        hint: hint::remedy(&ident, &field.ty),
        ty: without_self(&field.ty, event),
        default: arguments.flag("default", found),
        keys,
        ident,
    })
}

/// `Self` means something else in the items that we generate.
fn without_self(ty: &Type, event: &Ident) -> Type {
    fn replace(tokens: TokenStream, event: &Ident) -> TokenStream {
        tokens
            .into_iter()
            .map(|token| match token {
                proc_macro2::TokenTree::Ident(ident) if ident == "Self" => {
                    let mut event = event.clone();
                    event.set_span(ident.span());
                    event.into()
                }
                proc_macro2::TokenTree::Group(group) => {
                    let mut inner =
                        proc_macro2::Group::new(group.delimiter(), replace(group.stream(), event));
                    inner.set_span(group.span());
                    inner.into()
                }
                other => other,
            })
            .collect()
    }
    let mentions = |tokens: &TokenStream| tokens.to_string().contains("Self");
    let tokens = ty.to_token_stream();
    if mentions(&tokens) { Type::Verbatim(replace(tokens, event)) } else { ty.clone() }
}

/// No two fields may claim one JSON key.
fn check_keys(fields: &[(&syn::Field, Field)], found: &mut Mistakes) {
    let mut owners: HashMap<&str, &Ident> = HashMap::new();
    for (written, field) in fields {
        for key in &field.keys {
            if let Some(owner) = owners.insert(key, &field.ident) {
                let message = if *owner == field.ident {
                    format!("field `{}` claims the JSON key `{key}` twice; keep one", field.ident)
                } else {
                    format!(
                        "fields `{owner}` and `{}` share the JSON key `{key}`; give one of them another",
                        field.ident
                    )
                };
                match key_tokens(written, key) {
                    Some(tokens) => found.at(tokens, message),
                    None => found.at(&field.ident, message),
                }
            }
        }
    }
}

/// Where in the field's attributes this key is written.
fn key_tokens(field: &syn::Field, key: &str) -> Option<LitStr> {
    let mut ignored = Mistakes::default();
    let arguments = parse::arguments(&field.attrs, parse::FIELD_KEYS, &mut ignored);
    let mut texts = arguments.texts("alias", &mut ignored);
    texts.extend(arguments.text("rename", &mut ignored));
    texts.into_iter().find(|text| text.value() == key)
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    fn model(item: TokenStream) -> Result<Event, Vec<String>> {
        Event::new(&syn::parse2(item).expect("an item"))
            .map_err(|(error, _)| error.into_iter().map(|error| error.to_string()).collect())
    }

    #[test]
    fn every_key_is_understood() {
        let event = model(quote! {
            #[event(name = "shop.changed", crate = vendored::events)]
            struct Changed {
                #[event(rename = "id", alias = "a", alias = "b")]
                system_id: String,
                #[event(default)]
                r#type: Option<Vec<Self>>,
            }
        })
        .unwrap_or_else(|errors| panic!("{errors:?}"));
        assert_eq!(event.krate.to_string(), "vendored :: events");
        assert_eq!(event.fields[0].keys, ["id", "a", "b"]);
        assert_eq!(event.fields[1].keys, ["type"]);
        assert!(event.fields[1].default && !event.fields[0].default);
        let ty = event.fields[1].ty.to_token_stream().to_string();
        assert_eq!(ty, "Option < Vec < Changed > >");
    }

    #[test]
    fn all_mistakes_of_one_event_are_reported_at_once() {
        let errors = model(quote! {
            #[event(name = "a b", version = 2)]
            #[serde(rename_all = "camelCase")]
            struct Changed<T> {
                #[serde(skip)]
                one: T,
                #[event(rename = "one", alias = "")]
                two: [u8],
            }
        });
        assert_eq!(errors.err().expect("mistakes").len(), 7);
    }

    #[test]
    fn only_types_of_plain_names_go_without_a_guard() {
        for (ty, plain) in [
            (quote!(u64), true),
            (quote!(Option<Vec<String>>), true),
            (quote!(Vec<Option<bool>>), true),
            (quote!(Option<Option<u8>>), false),
            (quote!(std::string::String), false),
            (quote!(Vec<Owner>), false),
            (quote!(u128), false),
            (quote!([u8; 2]), false),
        ] {
            let event = model(quote!(struct E { field: #ty })).unwrap_or_else(|e| panic!("{e:?}"));
            assert_eq!(event.fields[0].plain, plain, "{ty}");
        }
    }
}
