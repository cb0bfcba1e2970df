//! A function under an attribute: its signature is read, its body is left alone.

use proc_macro2::{Delimiter, Group, TokenStream};
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Error, FnArg, GenericParam, ReturnType, Signature, Token, Type, Visibility};

use crate::mistakes::Mistakes;

/// A function. The body stays tokens: it may be in the middle of being edited, and parsing it would
/// cost more than everything else we do.
pub(crate) struct Function {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
    /// None for a method that a trait declares.
    pub(crate) body: Option<Group>,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let signature = input.parse()?;
        let body = match input.parse::<Option<Token![;]>>()? {
            Some(_) => None,
            None => Some(input.parse::<Group>()?),
        };
        if let Some(body) = &body
            && body.delimiter() != Delimiter::Brace
        {
            return Err(Error::new_spanned(body, "expected the body of a function"));
        }
        Ok(Self { attributes, visibility, signature, body })
    }
}

impl Function {
    /// Reads the item under an attribute of this name.
    pub(crate) fn read(attribute: &str, item: TokenStream) -> syn::Result<Self> {
        let head = head(&item);
        syn::parse2(item).map_err(|error| {
            let is_function = head.clone().into_iter().any(|token| token.to_string() == "fn");
            if is_function {
                error
            } else {
                Error::new_spanned(head, format!("`#[{attribute}]` goes on a function"))
            }
        })
    }

    /// Refuses what no attribute that registers a function can take: methods, generics and
    /// unusual qualifiers. `is` says what the function is.
    pub(crate) fn check_free(&self, is: &str, found: &mut Mistakes) {
        let signature = &self.signature;
        if let Some(receiver) = signature.receiver() {
            found.at(
                receiver,
                format!("{is} is a free function, not a method; move it out of the `impl`"),
            );
        }
        let parameters = &signature.generics.params;
        if parameters.iter().any(|parameter| !matches!(parameter, GenericParam::Lifetime(_))) {
            found.at(
                parameters,
                format!(
                    "{is} can't be generic: it is registered once; write the types that it takes"
                ),
            );
        } else if !parameters.is_empty() {
            found.at(parameters, format!("{is} needs no lifetimes; leave them out"));
        }
        if let Some(token) = &signature.constness {
            found.at(token, format!("{is} can't be a `const fn`; remove `const`"));
        }
        if !matches!(signature.safety, syn::Safety::Default) {
            let token = &signature.safety;
            found
                .at(token, format!("{is} can't be an `unsafe fn`; wrap the unsafe part inside it"));
        }
        if let Some(abi) = &signature.abi {
            found.at(abi, format!("{is} can't be an `extern fn`; remove the ABI"));
        }
        if let Some(variadic) = &signature.variadic {
            found.at(variadic, format!("{is} can't be variadic"));
        }
        if self.body.is_none() {
            found.at(&signature.ident, format!("{is} needs a body"));
        }
    }

    /// The types of the arguments, without a receiver. `impl Trait` is refused.
    pub(crate) fn arguments(&self, is: &str, found: &mut Mistakes) -> Vec<Type> {
        let mut types = Vec::new();
        for argument in &self.signature.inputs {
            if let FnArg::Typed(argument) = argument {
                if let Type::ImplTrait(generic) = &*argument.ty {
                    found.at(
                        generic,
                        format!("{is} can't be generic; write the type that it takes"),
                    );
                }
                if let Some(condition) =
                    argument.attrs.iter().find(|attribute| attribute.path().is_ident("cfg"))
                {
                    found.at(
                        condition,
                        format!("{is} takes the same in every build; write two functions, each behind `#[cfg]`"),
                    );
                }
                types.push(Type::clone(&argument.ty));
            }
        }
        types
    }

    /// The type that the function returns, if it says one.
    pub(crate) fn output(&self) -> Option<&Type> {
        match &self.signature.output {
            ReturnType::Default => None,
            ReturnType::Type(_, output) => Some(output),
        }
    }
}

/// Whether this is a path that ends in `name`.
pub(crate) fn is_called(ty: &Type, name: &str) -> bool {
    match ty {
        Type::Path(path) => path.path.segments.last().is_some_and(|last| last.ident == name),
        _ => false,
    }
}

/// What precedes the body: enough to say what the item is, and to point at.
fn head(item: &TokenStream) -> TokenStream {
    let after_attributes = |input: ParseStream<'_>| {
        input.call(Attribute::parse_outer)?;
        input.parse::<TokenStream>()
    };
    let tokens = syn::parse::Parser::parse2(after_attributes, item.clone())
        .unwrap_or_else(|_| item.clone())
        .into_iter()
        .take_while(|token| {
            !matches!(token, proc_macro2::TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
        })
        .collect::<TokenStream>();
    if tokens.is_empty() { item.clone() } else { tokens }
}
