//! A panic over one message is a bug of ours, and must not keep the others from being run.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What the function returns.
///
/// # Errors
/// It panicked; the reason that is kept with the message says what to do.
pub(crate) fn caught<T>(function: impl FnOnce() -> T) -> Result<T, String> {
    // Whatever it was at is dropped, and only read by others.
    catch_unwind(AssertUnwindSafe(function)).map_err(|panic| {
        let said = text(&*panic);
        format!("looking at it panicked: {said}; report it as a bug of events-celery, with the message, and retry it with a release that mends it")
    })
}

/// What was said of it.
pub(crate) fn text(panic: &(dyn Any + Send)) -> &str {
    let literal = panic.downcast_ref::<&str>().copied();
    let formatted = || panic.downcast_ref::<String>().map(String::as_str);
    literal.or_else(formatted).unwrap_or("it did not say why")
}

#[cfg(test)]
mod tests {
    use super::caught;

    #[test]
    fn panic_is_an_error_that_says_what_to_do() {
        assert_eq!(caught(|| 7), Ok(7));
        for panic in [
            caught(|| panic!("a text")).unwrap_err(),
            caught(|| panic!("a {}", "text")).unwrap_err(),
        ] {
            assert!(panic.starts_with("looking at it panicked: a text; report it"), "{panic}");
        }
        let other = caught(|| std::panic::panic_any(7)).unwrap_err();
        assert!(other.contains("did not say why"), "{other}");
    }
}
