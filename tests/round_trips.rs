//! Every allowed type survives JSON, whatever the value.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use events_core::event::{decode, encode};
use events_core::payload::JsonKind;
use events_core::prelude::*;
use proptest::prelude::*;

#[derive(Event, Debug, Clone, PartialEq)]
struct Inner {
    text: String,
    deeper: Option<Box<Inner>>,
}

#[derive(Event, Debug, Clone, PartialEq)]
struct Everything {
    boolean: bool,
    signed: (i8, i16, i32, i64),
    unsigned: (u8, u16, u32, u64),
    single: f32,
    double: f64,
    text: String,
    optional: Option<String>,
    list: Vec<Option<i64>>,
    array: [u8; 4],
    ordered_set: BTreeSet<String>,
    hashed_set: HashSet<i32>,
    ordered_map: BTreeMap<String, Vec<f64>>,
    hashed_map: HashMap<String, (bool, String)>,
    boxed: Box<u64>,
    nested: Inner,
    nested_list: Vec<Inner>,
    #[event(rename = "r#type")]
    renamed: i32,
}

fn finite() -> impl Strategy<Value = f64> {
    any::<f64>().prop_filter("JSON has no other", |float| float.is_finite())
}

prop_compose! {
    fn inner()(texts in prop::collection::vec(any::<String>(), 1..4)) -> Inner {
        let mut inner = None;
        for text in texts {
            inner = Some(Box::new(Inner { text, deeper: inner }));
        }
        *inner.expect("at least one")
    }
}

prop_compose! {
    fn everything()(
        (boolean, signed, unsigned, single) in any::<(bool, (i8, i16, i32, i64), (u8, u16, u32, u64), f32)>()
            .prop_filter("JSON has no other", |(_, _, _, single)| single.is_finite()),
        double in finite(),
        (text, optional, list, array, renamed) in any::<(String, Option<String>, Vec<Option<i64>>, [u8; 4], i32)>(),
        (ordered_set, hashed_set, hashed_map, boxed) in
            any::<(BTreeSet<String>, HashSet<i32>, HashMap<String, (bool, String)>, Box<u64>)>(),
        ordered_map in prop::collection::btree_map(any::<String>(), prop::collection::vec(finite(), 0..4), 0..4),
        nested in inner(),
        nested_list in prop::collection::vec(inner(), 0..3),
    ) -> Everything {
        Everything {
            boolean, signed, unsigned, single, double, text, optional, list, array, ordered_set,
            hashed_set, ordered_map, hashed_map, boxed, nested, nested_list, renamed,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_allowed_type_round_trips(event in everything()) {
        let json = encode(&event).unwrap();
        let back: Everything = decode(&json).unwrap();
        prop_assert_eq!(&back, &event);
        prop_assert_eq!(back.double.to_bits(), event.double.to_bits(), "also -0.0");
        prop_assert_eq!(back.single.to_bits(), event.single.to_bits());
        prop_assert_eq!(encode(&back).unwrap(), json, "equal events encode equally");
    }

    #[test]
    fn decoding_never_panics(text in "\\PC*") {
        drop(decode::<Everything>(&text));
    }

    #[test]
    fn mistaken_json_is_an_error_that_names_the_field(event in everything(), field in 0..Everything::FIELDS.len()) {
        let name = Everything::FIELDS[field].name;
        let mut json: serde_json::Value = serde_json::from_str(&encode(&event).unwrap()).unwrap();
        json[name] = match Everything::FIELDS[field].kind {
            JsonKind::Boolean => serde_json::json!("no boolean"),
            _ => serde_json::json!(true),
        };
        let error = decode::<Everything>(&json.to_string()).unwrap_err();
        prop_assert!(error.path().starts_with(name), "{}", error);
    }
}

#[derive(Event, Debug, PartialEq)]
struct Reading {
    values: Vec<Measured>,
}

#[derive(Event, Debug, PartialEq)]
struct Measured {
    celsius: f64,
}

#[test]
fn float_that_is_not_finite_is_an_error_that_names_the_field() {
    for celsius in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let event = Reading { values: vec![Measured { celsius: 1.0 }, Measured { celsius }] };
        let error = encode(&event).unwrap_err();
        assert_eq!(error.path(), "values[1].celsius");
    }
}

#[test]
fn integers_beyond_two_to_the_53rd_are_exact() {
    #[derive(Event, Debug, PartialEq)]
    struct Big {
        signed: i64,
        unsigned: u64,
    }
    let event = Big { signed: i64::MIN, unsigned: u64::MAX };
    let json = encode(&event).unwrap();
    assert_eq!(&*json, r#"{"signed":-9223372036854775808,"unsigned":18446744073709551615}"#);
    assert_eq!(decode::<Big>(&json).unwrap(), event);
}

#[test]
fn number_out_of_range_is_refused_rather_than_cut() {
    #[derive(Event, Debug)]
    struct Small {
        byte: u8,
    }
    let error = decode::<Small>(r#"{"byte":256}"#).unwrap_err();
    assert_eq!(error.to_string(), "field `byte`: 256 does not fit in u8");
    decode::<Small>(r#"{"byte":1.0}"#).unwrap_err();
    decode::<Small>(r#"{"byte":-1}"#).unwrap_err();
}

#[test]
fn sets_and_maps_encode_sorted() {
    #[derive(Event)]
    struct Unordered {
        set: HashSet<String>,
        map: HashMap<String, u8>,
    }
    let names = || ["c", "a", "b"].map(str::to_owned).into_iter();
    let event = Unordered { set: names().collect(), map: names().zip(0..).collect() };
    assert_eq!(&*encode(&event).unwrap(), r#"{"set":["a","b","c"],"map":{"a":1,"b":2,"c":0}}"#);
}

#[test]
fn readers_ignore_unknown_fields_and_accept_old_and_absent_ones() {
    #[derive(Event, Debug, PartialEq)]
    struct Evolved {
        id: String,
        note: Option<String>,
        #[event(default)]
        count: u32,
        #[event(rename = "kind", alias = "sort", alias = "type")]
        category: String,
    }
    let wanted = Evolved { id: "1".into(), note: None, count: 0, category: "x".into() };
    for json in [
        r#"{"id":"1","type":"x","added later":[{}]}"#,
        r#"{"id":"1","sort":"x","note":null}"#,
        r#"{"id":"1","kind":"x","sort":"ignored","count":0}"#,
    ] {
        assert_eq!(decode::<Evolved>(json).unwrap(), wanted, "{json}");
    }
    let error = decode::<Evolved>(r#"{"kind":"x"}"#).unwrap_err();
    assert!(error.to_string().starts_with("field `id`: is missing"), "{error}");
    assert!(encode(&wanted).unwrap().contains(r#""kind":"x""#));
}

#[test]
fn nesting_that_no_reader_accepts_is_refused_at_the_publish() {
    let mut inner = Inner { text: String::new(), deeper: None };
    for _ in 0..130 {
        inner = Inner { text: String::new(), deeper: Some(Box::new(inner)) };
    }
    let error = encode(&inner).unwrap_err();
    assert!(error.to_string().contains("nests deeper than"), "{error}");
}

#[test]
fn what_is_as_deep_as_may_be_is_read_back() {
    let mut inner = Inner { text: String::new(), deeper: None };
    for _ in 0..119 {
        inner = Inner { text: String::new(), deeper: Some(Box::new(inner)) };
    }
    assert_eq!(decode::<Inner>(&encode(&inner).unwrap()).unwrap(), inner);
}

#[test]
fn fields_describe_the_payload() {
    let fields: Vec<_> = Everything::FIELDS
        .iter()
        .map(|field| (field.name, field.kind, field.optional, field.nested.is_some()))
        .collect();
    assert_eq!(fields[0], ("boolean", JsonKind::Boolean, false, false));
    assert!(fields.contains(&("optional", JsonKind::String, true, false)));
    assert!(fields.contains(&("double", JsonKind::Number, false, false)));
    assert!(fields.contains(&("nested", JsonKind::Object, false, true)));
    assert!(fields.contains(&("nested_list", JsonKind::Array, false, true)));
    assert!(fields.contains(&("r#type", JsonKind::Integer, false, false)));
    let nested = Everything::FIELDS.iter().find_map(|field| field.nested).unwrap();
    assert_eq!(nested()[0].name, "text");
}

#[test]
fn payload_over_the_limit_is_refused_and_the_session_stays_usable() {
    let registry = events_core::Registry::builder().build().unwrap();
    let settings = EventSettings { payload_limit_bytes: 64, ..EventSettings::default() };
    let events = Events::builder().registry(registry).settings(settings).build().unwrap();
    let mut session = events_testing::TestSession::new(&events);
    let publish = |session: &mut events_testing::TestSession, length: usize| {
        let event = Inner { text: "x".repeat(length), deeper: None };
        events_core::unchecked::publish_after_commit(session, event)
    };
    let error = publish(&mut session, 100).unwrap_err();
    assert!(error.to_string().contains("payload_limit_bytes"), "{error}");
    publish(&mut session, 10).unwrap();
    assert_eq!(session.pending_events().len(), 1);
}
