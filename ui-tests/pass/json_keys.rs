//! Renamed fields, old names, defaults, absent options and unknown fields.

use events_core::event::{decode, encode};
use events_core::prelude::*;

#[derive(Event, Debug, PartialEq)]
struct Changed {
    #[event(rename = "system-id", alias = "id", alias = "system")]
    system_id: String,
    #[event(default)]
    attempts: u32,
    #[event(default, rename = "labels")]
    tags: std::collections::BTreeMap<String, String>,
    note: Option<String>,
}

fn main() {
    let event = Changed {
        system_id: "crm".into(),
        attempts: 0,
        tags: [].into(),
        note: None,
    };
    let json = r#"{"system-id":"crm","attempts":0,"labels":{},"note":null}"#;
    assert_eq!(&*encode(&event).expect("encodes"), json);
    for read in [
        json,
        r#"{"system-id":"crm"}"#,
        r#"{"id":"crm","unknown":{"a":[1]}}"#,
        r#"{"system":"crm","note":null}"#,
    ] {
        assert_eq!(decode::<Changed>(read).expect(read), event, "{read}");
    }
    let missing = decode::<Changed>("{}").expect_err("a field is missing");
    assert_eq!(missing.path(), "system-id");
    let wrong = decode::<Changed>(r#"{"id":7}"#).expect_err("a number is no text");
    assert_eq!(wrong.path(), "id");
}
