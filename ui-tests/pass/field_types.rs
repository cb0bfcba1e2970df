//! Every allowed type, alone and in one another, goes through JSON and back.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use events_core::event::{decode, encode};
use events_core::prelude::*;

type Amount = i64;

mod text {
    pub use std::string::String as Line;
}
use text::Line as Words;

#[derive(Event, Debug, PartialEq)]
struct Everything {
    truth: bool,
    small: (i8, i16, i32, i64),
    natural: (u8, u16, u32, u64),
    floating: (f32, f64),
    text: std::string::String,
    aliased: Amount,
    renamed: Words,
    nothing: Option<u32>,
    something: Option<Vec<Option<bool>>>,
    list: Vec<Vec<String>>,
    array: [[u8; 2]; 3],
    sets: (BTreeSet<String>, HashSet<u32>),
    maps: (BTreeMap<String, i32>, HashMap<String, Option<String>>),
    boxed: Box<Inner>,
    tree: Tree,
    optional: Option<Inner>,
    r#type: u8,
}

#[derive(Event, Debug, PartialEq, Clone)]
struct Inner {
    value: f64,
}

#[derive(Event, Debug, PartialEq)]
struct Tree {
    children: Vec<Self>,
    parent: Option<Box<Tree>>,
}

fn main() {
    let leaf = || Tree { children: vec![], parent: None };
    let event = Everything {
        truth: true,
        small: (i8::MIN, i16::MIN, i32::MIN, i64::MIN),
        natural: (u8::MAX, u16::MAX, u32::MAX, u64::MAX),
        floating: (f32::MAX, f64::MIN_POSITIVE),
        text: "\u{0} \"quoted\" \u{1F980}".into(),
        aliased: -1,
        renamed: "words".into(),
        nothing: None,
        something: Some(vec![Some(true), None]),
        list: vec![vec![], vec!["a".into()]],
        array: [[1, 2], [3, 4], [5, 6]],
        sets: (BTreeSet::from(["b".into(), "a".into()]), HashSet::from([3, 1])),
        maps: (BTreeMap::from([("k".into(), 1)]), HashMap::from([("x".into(), None)])),
        boxed: Box::new(Inner { value: 0.1 }),
        tree: Tree { children: vec![leaf(), leaf()], parent: Some(Box::new(leaf())) },
        optional: Some(Inner { value: -0.0 }),
        r#type: 1,
    };
    let json = encode(&event).expect("encodes");
    assert_eq!(decode::<Everything>(&json).expect("decodes"), event);
    assert!(Everything::NAME.ends_with(".Everything"));
    assert_eq!(Everything::FIELDS[16].name, "type");
    let nested = Tree::FIELDS[0].nested.expect("trees nest");
    assert_eq!(nested().len(), 2);
}
