use std::time::Duration;

use super::{CeleryOptions, CeleryResults};
use crate::error::CeleryError;

#[test]
fn shared_queues_of_several_calls_add_up() {
    let options = CeleryOptions::new().shared_queues(["mail"]).shared_queues(["jobs", "news"]);
    assert_eq!(options.shared_queues, ["mail", "jobs", "news"]);
}

#[test]
fn everything_is_shown_but_secrets() {
    let options = CeleryOptions::new()
        .key_prefix("prefix:")
        .visibility_timeout(Duration::from_secs(1234))
        .response_timeout(Duration::from_secs(5678))
        .shared_queues(["mail"])
        .node_name("node")
        .results(
            CeleryResults::new(Duration::from_secs(90))
                .at("redis://:secret@host")
                .global_keyprefix("before"),
        )
        .task_events(true);
    #[cfg(feature = "tls")]
    let options =
        options.tls(true).tls_root_certificate("secret").tls_client_certificate("secret", "secret");
    #[cfg(feature = "sentinel")]
    let options =
        options.master_name("master").sentinel_username("asker").sentinel_password("secret");
    let shown = format!("{options:?}");
    for part in ["prefix:", "1234s", "5678s", "mail", "node", "90s", "before_", "elsewhere: true"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    #[cfg(feature = "tls")]
    assert!(shown.contains("client_is_given: true"), "{shown}");
    #[cfg(feature = "sentinel")]
    assert!(shown.contains("master") && shown.contains("asker"), "{shown}");
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn results_are_kept_for_whole_seconds_and_never_for_none() {
    for (expire, seconds) in [
        (Duration::ZERO, 1),
        (Duration::from_millis(1), 1),
        (Duration::from_millis(1001), 2),
        (Duration::from_hours(24), 86_400),
    ] {
        assert_eq!(CeleryResults::new(expire).expire_seconds, Some(seconds), "{expire:?}");
    }
    assert_eq!(CeleryResults::forever().expire_seconds, None);
}

#[test]
fn prefix_of_results_is_what_celery_makes_of_it() {
    let prefix = |given: &str| CeleryResults::forever().global_keyprefix(given).prefix;
    let made = ["", "acme", "acme:", "acme_", "acme-", "acme."].map(prefix);
    assert_eq!(made, ["", "acme_", "acme:", "acme_", "acme-", "acme."]);
    assert_eq!(CeleryResults::forever().raw_key_prefix("acme:_").prefix, "acme:_");
}

#[test]
fn url_that_cannot_be_used_is_told_when_it_is_opened_and_not_shown() {
    let results = CeleryResults::forever().at("amqp://:secret@host");
    for (options, url, whose) in [
        (CeleryOptions::new(), "amqp://:secret@host", "URL of Redis"),
        (CeleryOptions::new().results(results), "redis://host", "the results' Redis"),
    ] {
        let error = options.sources(url).expect_err(url);
        assert!(matches!(error, CeleryError::Url { .. }), "{error:?}");
        let text = format!("{error} {error:?}");
        assert!(text.contains(whose) && !text.contains("secret"), "{text}");
    }
}

/// Celery's results look at `db` where its broker does not.
#[test]
fn results_have_their_url_read_as_celerys_results_do() {
    let url = "redis+socket:///run/redis.sock?db=2";
    let error = CeleryOptions::new().sources(url).expect_err("kombu ignores it").to_string();
    assert!(error.contains("write `virtual_host`"), "{error}");
    let options = CeleryOptions::new().results(CeleryResults::forever().at(url));
    let (tasks, results) = options.sources("redis://host").expect("Celery takes it");
    assert_eq!((tasks.database(), results.expect("elsewhere").database()), (0, 2));
}

#[test]
fn messages_name_the_database_and_neither_user_nor_password() {
    for (url, name) in [
        ("redis://me:secret@host:7399/2", "host:7399/2"),
        ("redis://:secret@[::1]", "[::1]:6379/0"),
        (
            "redis+socket://me:secret@/run/redis.sock?virtual_host=1",
            "/run/redis.sock?virtual_host=1",
        ),
        #[cfg(feature = "sentinel")]
        ("sentinel://me:secret@a/3", "the sentinels' master `mymaster`/3"),
    ] {
        let options = CeleryOptions::new();
        #[cfg(feature = "sentinel")]
        let options = options.master_name("mymaster");
        assert_eq!(options.sources(url).expect(url).0.name(), name);
    }
}

#[test]
fn node_without_a_name_or_a_host_is_refused() {
    for name in ["", "worker@", "@host", "@"] {
        let error = CeleryOptions::new().node_name(name).sources("redis://host").expect_err(name);
        assert!(matches!(error, CeleryError::Options { .. }), "{error:?}");
        assert!(error.to_string().contains("`name@host`"), "{error}");
    }
    for name in ["worker", "worker@host"] {
        CeleryOptions::new().node_name(name).sources("redis://host").expect(name);
    }
}

#[cfg(feature = "sentinel")]
#[test]
fn sentinels_are_of_no_use_without_the_masters_name() {
    let options = CeleryOptions::new();
    let error = options.sources("sentinel://a;sentinel://b").expect_err("whose?").to_string();
    assert!(error.contains("`master_name`"), "{error}");
    options.master_name("mymaster").sources("sentinel://a;sentinel://b").expect("it is known");
}

#[cfg(feature = "tls")]
#[test]
fn certificates_that_encrypt_nothing_are_refused() {
    let options = CeleryOptions::new().tls_client_certificate("nonsense", "nonsense");
    assert!(matches!(options.sources("redis://host"), Err(CeleryError::NoTls)));
    // Where something is encrypted, they are looked at.
    for options in [options.clone().tls(true), options.results(encrypted())] {
        let error = options.sources("redis://host");
        assert!(matches!(error, Err(CeleryError::Certificate { .. })), "{error:?}");
    }
}

#[cfg(feature = "tls")]
#[test]
fn tls_of_results_that_lie_beside_tasks_in_plain_text_is_refused() {
    let options = CeleryOptions::new().results(CeleryResults::forever().tls(true));
    let error = options.sources("redis://host").expect_err("nothing is encrypted");
    assert!(matches!(error, CeleryError::Options { .. }), "{error:?}");
    assert!(error.to_string().contains("`CeleryOptions::tls(true)`"), "{error}");
    options.sources("rediss://host").expect("the tasks are encrypted");
    options.tls(true).sources("redis://host").expect("and here");
}

#[cfg(feature = "tls")]
#[test]
fn tls_through_a_unix_socket_is_refused() {
    let options = CeleryOptions::new().tls(true);
    let error = options.sources("unix:///run/redis.sock").expect_err("it cannot be").to_string();
    assert!(error.contains("Unix socket"), "{error}");
}

#[cfg(feature = "tls")]
fn encrypted() -> CeleryResults {
    CeleryResults::forever().at("rediss://host")
}
