use events_core::lifecycle::Chain;
use redis::{ErrorKind, RedisError, ServerErrorKind, make_extension_error};

use super::CeleryError;
use super::connect::NoConnection;

fn answer(code: &str) -> RedisError {
    make_extension_error(code.to_owned(), None)
}

#[test]
fn answers_have_the_name_that_redis_gives_them() {
    for code in ["NOPERM", "OOM", "LOADING"] {
        assert_eq!(CeleryError::command("do it", answer(code)).code(), Some(code));
    }
    let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
    assert_eq!(CeleryError::command("do it", broken.into()).code(), None);
}

#[test]
fn another_try_may_help_only_against_what_passes() {
    let loading = RedisError::from((ServerErrorKind::BusyLoading.into(), "it loads"));
    let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
    for error in [loading, broken.into(), answer("BUSY")] {
        let connecting = CeleryError::from(NoConnection::failed("host", error.clone()));
        assert!(connecting.is_unreachable(), "{connecting:?}");
        assert!(CeleryError::command("do it", error).is_unreachable());
    }
    for error in [
        answer("NOPERM"),
        answer("OOM"),
        answer("ERR"),
        RedisError::from((ErrorKind::InvalidClientConfig, "it is none")),
        RedisError::from((ErrorKind::Parse, "no Redis")),
    ] {
        let connecting = CeleryError::from(NoConnection::failed("host", error.clone()));
        assert!(!connecting.is_unreachable(), "{connecting:?}");
        assert!(!CeleryError::command("do it", error).is_unreachable());
    }
}

#[test]
fn what_the_driver_says_is_said_once() {
    let refused = || std::io::Error::from_raw_os_error(111);
    for error in [
        CeleryError::command("do it", refused().into()),
        NoConnection::failed("host", refused().into()).into(),
    ] {
        let chain = Chain(&error).to_string();
        assert_eq!(chain.matches("os error 111").count(), 1, "{chain}");
    }
}
