//! The rules for values that users write as literals: names, queues, durations.

use std::time::Duration;

use proc_macro2::TokenStream;
use quote::quote;

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
}
