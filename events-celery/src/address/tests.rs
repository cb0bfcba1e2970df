use super::*;

/// Place, user, password and database.
type Found = (Place, Option<String>, Option<String>, i64);

fn read(url: &str) -> Found {
    read_for(Purpose::Tasks, url)
}

fn read_for(purpose: Purpose, url: &str) -> Found {
    let Address { place, login, .. } = Address::parse(url, purpose).expect(url);
    let text = |text: Option<&str>| text.map(str::to_owned);
    (place, text(login.username()), text(login.password()), login.db())
}

fn at(host: &str, port: u16) -> Place {
    Place::Host(host.to_owned(), port)
}

#[test]
fn urls_are_read_as_kombu_reads_them() {
    let some = |text: &str| Some(text.to_owned());
    for (url, found) in [
        ("redis://", (at("127.0.0.1", 6379), None, None, 0)),
        ("redis:///3", (at("127.0.0.1", 6379), None, None, 3)),
        ("redis://cache", (at("cache", 6379), None, None, 0)),
        ("redis://cache:1/2", (at("cache", 1), None, None, 2)),
        ("redis://[::1]:1/2", (at("::1", 1), None, None, 2)),
        ("redis://:p%40%2F%3A@cache/", (at("cache", 6379), None, some("p@/:"), 0)),
        ("redis://me:p:q@cache//4", (at("cache", 6379), some("me"), some("p:q"), 4)),
        ("redis://me@cache", (at("cache", 6379), some("me"), some(""), 0)),
        ("redis://cache:/1", (at("cache", 6379), None, None, 1)),
        ("redis://[::1]/2", (at("::1", 6379), None, None, 2)),
        ("redis://[fe80::1%25eth0]:1", (at("fe80::1%eth0", 1), None, None, 0)),
        ("REDIS://cache:1", (at("cache", 1), None, None, 0)),
        (" redis://cache/2\n", (at("cache", 6379), None, None, 2)),
        (
            "redis+socket://:pw@/run/redis.sock?virtual_host=2",
            (Place::Socket("/run/redis.sock".into()), None, some("pw"), 2),
        ),
        (
            "Redis+Socket://me:pw@/run/redis.sock",
            (Place::Socket("/run/redis.sock".into()), some("me"), some("pw"), 0),
        ),
        (
            "unix:///run/a%20b?db=1&user=me&pass=p%26q",
            (Place::Socket("/run/a b".into()), some("me"), some("p&q"), 1),
        ),
    ] {
        assert_eq!(read(url), found, "{url}");
    }
}

/// What only Celery's results look at would have the tasks published elsewhere.
#[test]
fn parameters_of_a_socket_are_those_that_celery_looks_at() {
    for (query, told) in [
        ("db=2", "`virtual_host`"),
        ("virtual_host=1&db=2", "`virtual_host`"),
        ("password=secret", "redis+socket://user:password@/path"),
        ("username=secret", "redis+socket://user:password@/path"),
        ("user=secret", "redis+socket://user:password@/path"),
        ("socket_timeout=3", "`socket_timeout`"),
    ] {
        for scheme in ["redis+socket", "socket"] {
            let url = format!("{scheme}:///run/redis.sock?{query}");
            let remedy = Address::parse(&url, Purpose::Tasks).expect_err(&url);
            assert!(remedy.contains(told) && !remedy.contains("secret"), "{url}: {remedy}");
        }
    }
    let some = |text: &str| Some(text.to_owned());
    for (query, user, password, database) in [
        ("virtual_host=1", None, None, 1),
        ("db=2", None, None, 2),
        ("db=2&virtual_host=1", None, None, 2),
        ("db=&virtual_host=1", None, None, 1),
        ("db=2&username=me&password=pw", some("me"), some("pw"), 2),
    ] {
        let url = format!("redis+socket:///run/redis.sock?{query}");
        let place = Place::Socket("/run/redis.sock".into());
        let found = read_for(Purpose::Results, &url);
        assert_eq!(found, (place, user, password, database), "{url}");
    }
    let url = "redis+socket:///run/redis.sock?pass=secret";
    Address::parse(url, Purpose::Results).expect_err("Celery does not take it");
}

#[cfg(feature = "sentinel")]
#[test]
fn the_first_of_sentinels_says_who_asks_and_for_which_database() {
    let (place, user, password, database) =
        read("Sentinel://me:pw@a/5;SENTINEL://b:1;sentinel://other:word@c:2/7");
    let sentinels = [("a", 26379), ("b", 1), ("c", 2)];
    let sentinels = sentinels.map(|(host, port)| (host.to_owned(), port));
    assert_eq!(place, Place::Sentinels(sentinels.into()));
    assert_eq!((user.as_deref(), password.as_deref(), database), (Some("me"), Some("pw"), 5));
}

#[cfg(feature = "tls")]
#[test]
fn tls_is_spoken_where_kombu_speaks_it() {
    let tls = |url: &str| Address::parse(url, Purpose::Tasks).expect(url).tls;
    assert!(!tls("redis://cache"));
    for url in ["rediss://cache", "rediss://cache/0?ssl_cert_reqs=CERT_REQUIRED"] {
        assert!(tls(url), "{url}");
    }
    assert!(tls("redis://cache/0?ssl_cert_reqs=required&ssl_check_hostname=True"));
}

#[test]
fn what_cannot_be_used_is_told_with_its_remedy_and_without_the_url() {
    for (url, told) in [
        ("localhost:6379", "redis://host"),
        ("amqp://secret@host", "redis://host"),
        ("redis://:secret/@host", "%2F"),
        ("redis://:sec?ret@host", "%3F"),
        ("redis://:sec#ret@host", "%23"),
        ("redis://host/secret", "database"),
        ("redis://host:secret", "port"),
        ("redis://a;redis://b", "sentinels"),
        ("redis://host?socket_timeout=3", "`socket_timeout` means nothing here; leave it out"),
        ("redis://host?db=3", "redis://host:6379/0"),
        ("redis://host?password=secret", "redis://user:password@host"),
        ("redis://host?ssl=true", "`ssl`"),
        ("redis://[::1]6390/0", "IPv6"),
        ("redis://[::1", "IPv6"),
        ("redis://[localhost]:1", "IPv6"),
        ("redis://[127.0.0.1]:1", "IPv6"),
        ("redis://[fe80::1%25]:1", "IPv6"),
        ("redis://host:0/1", "1 to 65535"),
        ("redis://host:+6379", "1 to 65535"),
        ("redis://host:65536", "1 to 65535"),
        ("redis://host:\u{663}", "1 to 65535"),
        ("redis://host /1", "whitespace"),
        ("redis:// host/1", "whitespace"),
        ("redis://host: 6379/1", "whitespace"),
        ("redis://:sec\tret@host", "line break"),
        ("redis://host?ssl_cert_reqs=CERT_NONE", "`tls_root_certificate`"),
        ("rediss://host?ssl_cert_reqs=none", "`tls_root_certificate`"),
        ("rediss://host?ssl_check_hostname=false", "name"),
        ("rediss://host?ssl_ca_certs=/secret", "`tls_root_certificate`"),
        ("rediss://host?ssl_keyfile=/secret", "`tls_client_certificate`"),
        ("redis+socket://secret/path", "redis+socket:///path"),
        ("unix:///path?secret=1", "leave it out"),
        ("redis://%ff@host", "UTF-8"),
    ] {
        let remedy = Address::parse(url, Purpose::Tasks).expect_err(url);
        assert!(remedy.contains(told) && !remedy.contains("secret"), "{url}: {remedy}");
    }
    #[cfg(feature = "sentinel")]
    for (url, told) in [
        ("sentinel://a;redis://b", "sentinels"),
        ("sentinel://a;b:1", "sentinels"),
        ("sentinel://a?secret=1", "leave it out"),
        ("sentinel://a?ssl_cert_reqs=required", "`tls(true)`"),
        ("sentinel://a; sentinel://b", "whitespace"),
        ("sentinel://a ;sentinel://b", "whitespace"),
    ] {
        let remedy = Address::parse(url, Purpose::Tasks).expect_err(url);
        assert!(remedy.contains(told) && !remedy.contains("secret"), "{url}: {remedy}");
    }
}
