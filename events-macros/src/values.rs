//! The rules for values that users write as literals: names, queues, durations.

use std::time::Duration;

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::Type;

/// Names on the wire: identifiers of ASCII letters, digits and `_`, joined by dots.
pub(crate) fn is_dotted(name: &str) -> bool {
    name.split('.').all(|segment| {
        segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && segment.bytes().next().is_some_and(|first| !first.is_ascii_digit())
    })
}

/// What to write instead of a name that is not dotted.
pub(crate) const DOTTED: &str =
    "write ASCII identifiers joined by dots, such as \"shop.order_placed\"";

/// The same rule as the one that the registry checks for settings.
pub(crate) fn is_queue(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// What is wrong with the name of a task of another program. Names on other wires follow rules that we
/// do not know; these are what every wire can carry.
pub(crate) fn foreign_task_problem(name: &str) -> Option<String> {
    if let Some(control) = name.chars().find(|character| character.is_control()) {
        return Some(format!(
            "a task's name has no control characters; remove the `{}`",
            control.escape_debug()
        ));
    }
    let trimmed = name.trim();
    if trimmed.is_empty() {
        return Some(
            "this is no name; write the one under which the other program registers the task"
                .to_owned(),
        );
    }
    if trimmed != name {
        return Some(format!(
            "a task's name neither begins nor ends with white space; write `{trimmed:?}`"
        ));
    }
    let length = name.chars().count();
    (length > LONGEST_TASK).then(|| {
        format!("a task's name has at most {LONGEST_TASK} characters, and this has {length}")
    })
}

const LONGEST_TASK: usize = 255;

/// Reads a duration, or says what to write.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| {
        format!("`{text}` is not a duration; write a number with its unit, such as \"30s\", \"5m\" or \"1h 30m\"")
    })
}

/// A duration as a constant expression.
pub(crate) fn duration_tokens(krate: &TokenStream, duration: Duration) -> TokenStream {
    let (seconds, nanoseconds) = (duration.as_secs(), duration.subsec_nanos());
    quote!(#krate::__private::core::time::Duration::new(#seconds, #nanoseconds))
}

/// An option as a constant expression.
pub(crate) fn option_tokens(krate: &TokenStream, value: Option<impl ToTokens>) -> TokenStream {
    let option = quote!(#krate::__private::core::option::Option);
    match value {
        Some(value) => quote!(#option::Some(#value)),
        None => quote!(#option::None),
    }
}

/// Tokens as a user would write them.
pub(crate) fn display(ty: &Type) -> String {
    ty.to_token_stream().to_string().replace(" :: ", "::")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_the_wire_are_dotted_ascii_identifiers() {
        for good in ["a", "shop.order_placed", "_x.Y2"] {
            assert!(is_dotted(good), "{good}");
        }
        for bad in ["", ".", "a.", ".a", "a..b", "a b", "a-b", "2a", "a.2", "ä", "a::b"] {
            assert!(!is_dotted(bad), "{bad}");
        }
    }

    #[test]
    fn queues_are_named_portably() {
        assert!(is_queue("slow-lane_2.b") && is_queue(&"q".repeat(64)));
        assert!(!is_queue("") && !is_queue("a b") && !is_queue("ü") && !is_queue(&"q".repeat(65)));
    }

    #[test]
    fn foreign_tasks_are_named_as_their_programs_like() {
        let longest = "ä".repeat(255);
        for good in ["t", "shop.tasks.send-confirmation", "Shop: send it!", "подтвердить", &longest]
        {
            assert_eq!(foreign_task_problem(good), None, "{good}");
        }
        let too_long = "a".repeat(256);
        for (bad, says) in [
            ("", "this is no name"),
            ("  ", "this is no name"),
            (" a", "write `\"a\"`"),
            ("a\u{a0}", "write `\"a\"`"),
            ("a\nb", "remove the `\\n`"),
            ("a\0", "remove the `\\0`"),
            (&too_long, "and this has 256"),
        ] {
            let problem = foreign_task_problem(bad).unwrap_or_default();
            assert!(problem.contains(says), "{bad:?}: {problem}");
        }
    }
}
