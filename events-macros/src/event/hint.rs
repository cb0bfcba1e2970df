//! What to write instead of a type that may not stand in an event, guessed from its tokens.
//!
//! Tokens never decide whether a type may stand there: traits do, so that aliases and renamed
//! imports do not escape. They only choose the advice, and who needs no advice.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{GenericArgument, PathArguments, Type};

use crate::function::is_called;

const PRIMITIVES: &[&str] =
    &["bool", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f32", "f64", "String"];

/// Whether this type may stand in an event as long as its names mean what they usually mean.
pub(super) fn is_plain(ty: &Type) -> bool {
    let Some((name, argument)) = simple(ty) else { return false };
    match argument {
        None => PRIMITIVES.iter().any(|primitive| name == primitive),
        Some(element) if name == "Vec" => is_plain(element),
        Some(element) if name == "Option" => {
            is_plain(element) && simple(element).is_some_and(|(name, _)| name != "Option")
        }
        Some(_) => false,
    }
}

/// `Name` or `Name<T>`.
fn simple(ty: &Type) -> Option<(&Ident, Option<&Type>)> {
    let Type::Path(path) = ty else { return None };
    if path.qself.is_some() || path.path.leading_colon.is_some() || path.path.segments.len() != 1 {
        return None;
    }
    let segment = path.path.segments.first()?;
    match &segment.arguments {
        PathArguments::None => Some((&segment.ident, None)),
        PathArguments::AngleBracketed(arguments) if arguments.args.len() == 1 => {
            match arguments.args.first()? {
                GenericArgument::Type(element) => Some((&segment.ident, Some(element))),
                _ => None,
            }
        }
        _ => None,
    }
}

/// What to write instead of a type whose mere mention in generated code would add errors.
pub(super) fn unsized_remedy(ty: &Type) -> Option<&'static str> {
    match ty {
        Type::Slice(_) => Some("use `Vec`"),
        Type::TraitObject(_) | Type::ImplTrait(_) => {
            Some("an event is plain data; use a struct that derives `Event`")
        }
        Type::Never(_) => Some("remove the field"),
        Type::Infer(_) => Some("write the type"),
        Type::Path(_) if matches!(simple(ty), Some((name, None)) if name == "str") => {
            Some("use `String`")
        }
        Type::Group(group) => unsized_remedy(&group.elem),
        Type::Paren(paren) => unsized_remedy(&paren.elem),
        _ => None,
    }
}

/// What to write instead of this type, should it be refused.
pub(super) fn remedy(field: &Ident, ty: &Type) -> String {
    let idents = idents(ty.to_token_stream());
    let any = |names: &[&str]| idents.iter().any(|ident| names.contains(&ident.as_str()));
    let text = |how: &str| format!("use `String` and send {how}");
    if let Some(remedy) = by_shape(ty) {
        return remedy.to_owned();
    }
    if any(&["dyn"]) {
        "an event is plain data; send an identifier".to_owned()
    } else if any(&["Uuid", "Ulid"]) {
        let whole = is_called(ty, "Uuid") || is_called(ty, "Ulid");
        text(&if whole { format!("`{field}.to_string()`") } else { "its `to_string()`".to_owned() })
    } else if any(&[
        "DateTime",
        "NaiveDate",
        "NaiveDateTime",
        "NaiveTime",
        "OffsetDateTime",
        "UtcDateTime",
        "PrimitiveDateTime",
        "Date",
        "Time",
        "SystemTime",
        "Instant",
        "Timestamp",
        "Zoned",
    ]) {
        text("RFC 3339 text")
    } else if any(&["Duration", "TimeDelta", "SignedDuration", "Span"]) {
        format!("use an integer that names its unit, such as `{field}_ms: u64`")
    } else if any(&[
        "Cell",
        "RefCell",
        "UnsafeCell",
        "OnceCell",
        "LazyCell",
        "OnceLock",
        "LazyLock",
        "Mutex",
        "RwLock",
        "Rc",
        "Arc",
        "Weak",
    ]) || idents.iter().any(|ident| ident.starts_with("Atomic"))
    {
        "an event is frozen data; put the value itself here".to_owned()
    } else if any(&["u128", "i128", "usize", "isize"])
        || idents.iter().any(|ident| ident.starts_with("NonZero"))
    {
        "use an integer of a fixed size up to 64 bits, or `String`".to_owned()
    } else if any(&["Value", "RawValue"]) {
        "declare the fields that readers need, in a struct that derives `Event`".to_owned()
    } else if any(&["HashMap", "BTreeMap", "IndexMap"]) {
        "use `BTreeMap<String, T>` or `HashMap<String, T>`: the keys of a JSON object are texts"
            .to_owned()
    } else if any(&["HashSet", "BTreeSet", "IndexSet"]) {
        "use `BTreeSet<T>` or `HashSet<T>` of integers or texts, or `Vec<T>`".to_owned()
    } else if any(&["VecDeque", "LinkedList", "BinaryHeap"]) {
        "use `Vec`".to_owned()
    } else if any(&["Cow", "str", "char", "OsString", "PathBuf", "Path", "CString"]) {
        "an event owns its data; use `String`".to_owned()
    } else if any(&["IpAddr", "Ipv4Addr", "Ipv6Addr", "SocketAddr", "Url", "Decimal", "BigDecimal"])
    {
        text(&format!("`{field}.to_string()`"))
    } else if any(&["PhantomData"]) {
        "remove the field; it carries nothing".to_owned()
    } else if any(&["Result"]) {
        "use two `Option` fields, or an event of its own for the failure".to_owned()
    } else {
        "use a primitive such as `String`, or a struct that derives `Event`".to_owned()
    }
}

fn by_shape(ty: &Type) -> Option<&'static str> {
    match ty {
        Type::Group(group) => by_shape(&group.elem),
        Type::Paren(paren) => by_shape(&paren.elem),
        Type::Tuple(tuple) if tuple.elems.is_empty() => {
            Some("remove the field; it carries nothing")
        }
        Type::Tuple(tuple) if tuple.elems.len() > 12 => {
            Some("a tuple has at most 12 elements; name them, in a struct that derives `Event`")
        }
        Type::Reference(reference) => match &*reference.elem {
            Type::Slice(_) => Some("an event owns its data; use `Vec`"),
            _ => Some("an event owns its data; use `String`, or the type without `&`"),
        },
        Type::Ptr(_) | Type::FnPtr(_) => Some("an event is plain data; send an identifier"),
        Type::Path(_) => {
            let (name, element) = simple(ty)?;
            let (inner, _) = simple(element?)?;
            match name == "Option" && inner == "Option" {
                true => Some("use one `Option`: `null` couldn't say which of the two is empty"),
                false => by_shape(element?),
            }
        }
        _ => None,
    }
}

/// All identifiers in these tokens, in groups too.
fn idents(tokens: TokenStream) -> Vec<String> {
    tokens
        .into_iter()
        .flat_map(|token| match token {
            TokenTree::Ident(ident) => vec![ident.to_string()],
            TokenTree::Group(group) => idents(group.stream()),
            _ => Vec::new(),
        })
        .collect()
}
