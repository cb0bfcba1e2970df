use serde_json::json;

use super::super::envelope::wrap;
use super::*;

fn read(body: &Value) -> Result<Request, String> {
    Request::read(wrap(body, &json!({"clock": 7}), "celery.pidbox", "").as_bytes())
}

fn asked_of(pattern: &str, matcher: &str, name: &str) -> bool {
    let body =
        json!({"method": "ping", "destination": null, "pattern": pattern, "matcher": matcher});
    read(&body).unwrap().is_for(name)
}

#[test]
fn a_request_is_read_as_celery_writes_it() {
    let request = read(&json!({
        "method": "revoke",
        "arguments": {"task_id": "a", "terminate": false},
        "destination": null,
        "pattern": null,
        "matcher": null,
        "ticket": "6034ced7",
        "reply_to": {"exchange": "reply.celery.pidbox", "routing_key": "7e58159f"},
    }));
    let request = request.unwrap();
    assert_eq!((request.method.as_str(), request.clock), ("revoke", 7));
    assert_eq!(request.arguments["task_id"], "a");
    assert_eq!(request.ticket, "6034ced7");
    assert_eq!(request.reply_to.as_ref().unwrap().routing_key, "7e58159f");
    assert!(request.is_for("anybody@host"));
}

#[test]
fn what_is_no_request_is_refused_and_no_panic() {
    for body in [
        json!(null),
        json!([]),
        json!("ping"),
        json!({}),
        json!({"method": 1}),
        json!({"method": "ping", "arguments": []}),
    ] {
        assert!(read(&body).is_err(), "{body}");
    }
    let odd = json!({"method": "ping", "destination": 5, "ticket": {}, "reply_to": "x"});
    assert!(read(&odd).unwrap().reply_to.is_none());
}

#[test]
fn a_destination_that_cannot_be_read_is_nobody_and_none_is_everybody() {
    let asks = |to: serde_json::Value| {
        let mut body = json!({"method": "shutdown"});
        body.as_object_mut().unwrap().extend(to.as_object().unwrap().clone());
        read(&body).unwrap().is_for("rust@host")
    };
    for nobody in [
        json!({"destination": 5}),
        json!({"destination": [17]}),
        json!({"destination": {"rust@other": 1}}),
        json!({"destination": true}),
        json!({"pattern": ["rust@other"], "matcher": "glob"}),
        json!({"pattern": "rust@*", "matcher": ["glob"]}),
    ] {
        assert!(!asks(nobody.clone()), "{nobody}");
    }
    for everybody in [
        json!({}),
        json!({"destination": null}),
        json!({"destination": []}),
        json!({"destination": "", "pattern": "", "matcher": ""}),
        json!({"pattern": "other@*", "matcher": null}),
    ] {
        assert!(asks(everybody.clone()), "{everybody}");
    }
}

#[test]
fn a_request_is_for_those_whom_it_names() {
    let request = read(&json!({"method": "ping", "destination": ["a@host", "b@host"]})).unwrap();
    assert!(request.is_for("a@host") && request.is_for("b@host") && !request.is_for("c@host"));
}

#[test]
fn patterns_hold_for_names_as_pythons_fnmatch() {
    for (pattern, name, holds) in [
        ("*", "a@host", true),
        ("a*", "a@host", true),
        ("a*@h?st", "abc@host", true),
        ("a*@h?st", "abc@ghost", false),
        ("*host", "a@host.host", true),
        ("[a-c]@host", "b@host", true),
        ("[!a-c]@host", "b@host", false),
        ("[]]@host", "]@host", true),
        ("[", "[", false),
        ("a@host", "a@hostess", false),
        ("", "a@host", true),
    ] {
        assert_eq!(asked_of(pattern, "glob", name), holds, "{pattern} {name}");
    }
}

#[test]
fn plain_regular_expressions_hold_for_names_that_begin_so() {
    for (pattern, name, holds) in [
        ("a@", "a@host", true),
        ("^a.*@host$", "abc@host", true),
        (".+@host", "abc@host", true),
        (".+@host", "@host", false),
        (r"a@host\.net", "a@host.net", true),
        (r"a@host\.net", "a@hostxnet", false),
        ("b@", "ab@host", false),
        ("a@host$", "a@hostess", false),
        // More than that nobody here can tell.
        ("(a|b)@host", "a@host", false),
        ("a+@host", "a@host", false),
        (r"\w+", "a@host", false),
    ] {
        assert_eq!(asked_of(pattern, "pcre", name), holds, "{pattern} {name}");
    }
    assert!(!asked_of("a", "other", "a"));
}
