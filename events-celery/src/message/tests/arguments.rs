//! Arguments: those of events, those of functions, and what kombu wraps.

use events_core::event::{Field, JsonKind};

use super::sample::with_body;
use crate::message::Message;
use crate::message::call::Call;

fn call(body: &str) -> Call {
    Message::read(&with_body(body).to_string()).unwrap_or_else(|error| panic!("{error:?}")).call
}

fn event(payload: &str, event_id: Option<&str>) -> Call {
    Call::Event { payload: payload.into(), event_id: event_id.map(Into::into) }
}

#[test]
fn object_with_or_without_an_id_is_an_event() {
    let payload = r#"{"a":1}"#;
    for (body, id) in [
        (r#"[[{"a":1},"e-1"],{},{}]"#, Some("e-1")),
        (r#"[[{"a":1}],{},null]"#, None),
        (r#"[[],{"payload":{"a":1},"event_id":"e-1"},{}]"#, Some("e-1")),
        (r#"[[],{"payload":{"a":1}},{}]"#, None),
    ] {
        assert_eq!(call(body), event(payload, id), "{body}");
    }
}

#[test]
fn everything_else_is_a_function_call() {
    for body in [
        "[[],{},{}]",
        "[[1],{},{}]",
        r#"[[{"a":1},2],{},{}]"#,
        r#"[[{"a":1},"e",3],{},{}]"#,
        r#"[[{"a":1}],{"b":2},{}]"#,
        r#"[[],{"payload":{"a":1},"other":1},{}]"#,
        r#"[[],{"payload":7},{}]"#,
    ] {
        assert!(matches!(call(body), Call::Function { .. }), "{body}");
    }
}

#[test]
fn arguments_become_fields_by_position_and_by_name() {
    let fields = ["one", "two"].map(field);
    let payload = |body: &str| call(body).payload(&fields).map(|payload| payload.to_string());
    assert_eq!(payload(r#"[[1],{"two":[2 ]},{}]"#).as_deref(), Ok(r#"{"one":1,"two":[2 ]}"#));
    assert_eq!(payload(r#"[[],{"two":null},{}]"#).as_deref(), Ok(r#"{"two":null}"#));
    let error = payload(r#"[[],{"tow":null},{}]"#).unwrap_err();
    assert!(error.contains("argument `tow`") && error.contains("no such field"), "{error}");
    let error = payload("[[1,2,3],{},{}]").unwrap_err();
    assert!(error.contains("3 positional arguments") && error.contains("2 fields"), "{error}");
    let error = payload(r#"[[1],{"one":1},{}]"#).unwrap_err();
    assert!(error.contains("two values for the argument `one`"), "{error}");
}

fn field(name: &'static str) -> Field {
    Field { name, rust_name: name, kind: JsonKind::Integer, optional: false, nested: None }
}

#[test]
fn every_tag_of_kombu_becomes_a_text() {
    for (tag, expected) in [
        (r#""datetime","__value__":"2030-01-01T00:00:00+00:00""#, "2030-01-01T00:00:00+00:00"),
        (r#""date","__value__":"2030-01-01""#, "2030-01-01"),
        (r#""time","__value__":"12:30:00""#, "12:30:00"),
        (r#""decimal","__value__":"1.10""#, "1.10"),
        (r#""bytes","__value__":"text""#, "text"),
        (r#""base64","__value__":"AP8=""#, "AP8="),
        (
            r#""uuid","__value__":{"hex":"930cc3541f604956bae5ffffb26986be"}"#,
            "930cc354-1f60-4956-bae5-ffffb26986be",
        ),
    ] {
        let body = format!(r#"[[{{"at":[{{"__type__":{tag}}}]}}],{{}},{{}}]"#);
        assert_eq!(call(&body), event(&format!(r#"{{"at":["{expected}"]}}"#), None));
    }
    let swapped = r#"[[{"at":{ "__value__":"2030-01-01" , "__type__":"date"}}],{},{}]"#;
    assert_eq!(call(swapped), event(r#"{"at":"2030-01-01"}"#, None));
}

#[test]
fn what_only_looks_like_a_tag_stays() {
    for value in [
        r#"{"__type__":"color","__value__":"red"}"#,
        r#"{"__type__":"date","__value__":7}"#,
        r#"{"__type__":"uuid","__value__":{"hex":"no"}}"#,
        r#"{"__type__":"uuid","__value__":{"int":7}}"#,
        r#"{"__type__":7,"__value__":"2030-01-01"}"#,
        r#"{"__type__":"date"}"#,
        r#"{"__type__":"date","__value__":"2030-01-01","x":1}"#,
        r#""__type__""#,
    ] {
        let body = format!(r#"[[{{"at":{value}}}],{{}},{{}}]"#);
        assert_eq!(call(&body), event(&format!(r#"{{"at":{value}}}"#), None));
    }
}

#[test]
fn numbers_beside_a_tag_stay_as_they_came() {
    let body = r#"[[{"big":123456789012345678901234567890,"f":1.10e+2,"z":1,"a":2,"at":{"__type__":"date","__value__":"2030-01-01"},"half":"\ud800"}],{},{}]"#;
    let payload = r#"{"big":123456789012345678901234567890,"f":1.10e+2,"z":1,"a":2,"at":"2030-01-01","half":"\ud800"}"#;
    assert_eq!(call(body), event(payload, None));
}

#[test]
fn large_objects_may_have_tags() {
    let fields: Vec<_> = (0..3000).map(|number| format!("\"f{number}\":{number}")).collect();
    let fields = fields.join(",");
    let body = format!(r#"[[{{{fields},"at":{{"__type__":"date","__value__":"d"}}}}],{{}},{{}}]"#);
    assert_eq!(call(&body), event(&format!(r#"{{{fields},"at":"d"}}"#), None));
}
