//! Exactly one error per bad field, none per good one, whatever the type is called.
//!
//! All types go into one crate, which is checked once; the compiler's answers are compared line by
//! line, so that this holds with every compiler.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// May stand in an event.
const GOOD: &[&str] = &[
    "bool",
    "i8",
    "i16",
    "i32",
    "i64",
    "u8",
    "u16",
    "u32",
    "u64",
    "f32",
    "f64",
    "String",
    "std::string::String",
    "Option<String>",
    "Option<Vec<u8>>",
    "Option<Box<u8>>",
    "Option<(u8, Option<u8>)>",
    "Vec<Option<i64>>",
    "Vec<Vec<Vec<bool>>>",
    "[u8; 32]",
    "[[Option<f32>; 2]; 0]",
    "(String,)",
    "(u8, (bool, f64), [String; 2])",
    "(u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8)",
    "Box<String>",
    "Box<Option<u8>>",
    "BTreeSet<String>",
    "HashSet<(u8, bool)>",
    "BTreeMap<String, u8>",
    "HashMap<String, Vec<Option<Nested>>>",
    "Nested",
    "Option<Nested>",
    "Vec<Nested>",
    "aliases::Amount",
    "aliases::Names",
    "aliases::Inner",
    "(bool)",
    "tuple!(u8, bool)",
];

/// May not.
const BAD: &[&str] = &[
    "u128",
    "i128",
    "usize",
    "isize",
    "char",
    "()",
    "uuid::Uuid",
    "Uuid",
    "Option<Uuid>",
    "Vec<Option<Uuid>>",
    "HashMap<String, Uuid>",
    "(u8, Uuid)",
    "[Uuid; 2]",
    "aliases::Id",
    "aliases::Ids",
    "aliases::Identifier",
    "aliases::MaybeNote",
    "DateTime<Utc>",
    "chrono::NaiveDate",
    "chrono::TimeDelta",
    "time::OffsetDateTime",
    "time::Date",
    "std::time::SystemTime",
    "std::time::Instant",
    "Duration",
    "Option<Duration>",
    "serde_json::Value",
    "serde_json::Map<String, serde_json::Value>",
    "Color",
    "Vec<Color>",
    "NoEvent",
    "Option<NoEvent>",
    "Generic<u8>",
    "&'static str",
    "&'static [u8]",
    "&'static mut u8",
    "*const u8",
    "fn(u8) -> u8",
    "Box<dyn Fn(u8)>",
    "Box<str>",
    "Box<[u8]>",
    "Cow<'static, str>",
    "Cell<u8>",
    "RefCell<String>",
    "OnceCell<u8>",
    "Mutex<u8>",
    "RwLock<u8>",
    "AtomicBool",
    "AtomicU64",
    "Rc<str>",
    "Arc<String>",
    "Option<Arc<String>>",
    "PhantomData<u8>",
    "Result<u8, String>",
    "Option<Option<u8>>",
    "Option<Box<Option<u8>>>",
    "Vec<Option<Option<u8>>>",
    "HashMap<u32, String>",
    "BTreeMap<(u8, u8), String>",
    "HashMap<String, u8, Hasher>",
    "HashSet<u8, Hasher>",
    "BTreeSet<f64>",
    "HashSet<f32>",
    "VecDeque<u8>",
    "LinkedList<u8>",
    "BinaryHeap<u8>",
    "std::num::NonZeroU32",
    "std::net::IpAddr",
    "std::path::PathBuf",
    "std::ops::Range<u8>",
    "std::cmp::Ordering",
    "(u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8)",
    "<Vec<u8> as IntoIterator>::IntoIter",
];

/// Every plain name, meaning something that may not stand in an event.
const SHADOWED: &[&str] = &["u8", "String", "Option<u8>", "Vec<String>"];

const HEADER: &str = r"#![allow(dead_code, unused_imports)]
use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;
use chrono::{DateTime, Utc};
use events_core::Event;
use uuid::Uuid;
type Hasher = std::hash::BuildHasherDefault<std::collections::hash_map::DefaultHasher>;
macro_rules! tuple { ($($t:ty),*) => { ($($t,)*) }; }
mod aliases {
    pub type Amount = i64;
    pub type Names = std::collections::BTreeMap<String, Vec<String>>;
    pub use super::Nested as Inner;
    pub type Id = uuid::Uuid;
    pub type Ids = Vec<Id>;
    pub use uuid::Uuid as Identifier;
    pub type Note = Option<String>;
    pub type MaybeNote = Option<Note>;
}
#[derive(Event, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Nested { value: u8 }
pub struct NoEvent { value: u8 }
pub struct Generic<T> { value: T }
pub enum Color { Red, Green }
";

#[test]
fn every_bad_field_is_one_error_and_no_good_field_is_any() {
    let mut source = Source::default();
    source.push(HEADER);
    source.one_event_each(GOOD, 0);
    source.one_event_each(BAD, 1);
    source.one_event("AllGood", GOOD, 0);
    source.one_event("AllBad", BAD, 1);
    source.push("mod shadowed {\nuse events_core::Event;\nuse uuid::{Uuid as String, Uuid as u8};");
    source.push("pub struct Option<T> { t: T }\npub struct Vec<T> { t: T }");
    source.one_event_each(SHADOWED, 1);
    source.push("}");
    assert!(GOOD.len() + BAD.len() >= 60);

    let found = check(&source.text);
    let mut differences = String::new();
    for (line, text) in (1..).zip(source.text.lines()) {
        let expected = source.expected.get(&line).copied().unwrap_or(0);
        let errors = found.get(&line).map_or(&[][..], Vec::as_slice);
        if errors.len() != expected {
            let _ = writeln!(differences, "{text}: {expected} expected, found {errors:#?}");
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

/// The crate, and how many errors each line is to have.
#[derive(Default)]
struct Source {
    text: String,
    expected: BTreeMap<usize, usize>,
    events: usize,
}

impl Source {
    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    fn one_event_each(&mut self, types: &[&str], errors: usize) {
        for ty in types {
            self.events += 1;
            let name = format!("Event{}", self.events);
            self.one_event(&name, &[ty], errors);
        }
    }

    fn one_event(&mut self, name: &str, types: &[&str], errors: usize) {
        self.push("#[derive(Event)]");
        self.push(&format!("pub struct {name} {{"));
        for (index, ty) in types.iter().enumerate() {
            self.push(&format!("    field_{index}: {ty},"));
            self.expected.insert(self.text.lines().count(), errors);
        }
        self.push("}");
    }
}

/// The errors of a crate with this source, by line.
fn check(source: &str) -> BTreeMap<usize, Vec<String>> {
    let folder = crate_folder(source);
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["check", "--quiet", "--offline", "--message-format=json"])
        .current_dir(&folder)
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .env_remove("RUSTFLAGS")
        .output()
        .expect("cargo runs");
    let mut errors: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let stdout = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    for message in stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let message = &message["message"];
        let spans = message["spans"].as_array().map_or(&[][..], Vec::as_slice);
        if message["level"] != "error" || spans.is_empty() {
            continue;
        }
        let primary = spans.iter().find(|span| span["is_primary"] == true).expect("a place");
        let line = usize::try_from(primary["line_start"].as_u64().expect("a line")).expect("small");
        errors.entry(line).or_default().push(message["message"].to_string());
    }
    assert!(
        !errors.is_empty(),
        "the crate was not checked: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    errors
}

fn crate_folder(source: &str) -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("matrix");
    fs::create_dir_all(folder.join("src")).expect("the target folder is writable");
    let manifest = format!(
        r#"[package]
name = "matrix"
version = "0.0.0"
edition = "2024"

[dependencies]
chrono = {{ version = "*", default-features = false, features = ["std"] }}
events-core = {{ path = '{core}' }}
serde_json = "*"
time = {{ version = "*", default-features = false, features = ["std"] }}
uuid = {{ version = "*", default-features = false, features = ["std"] }}

[workspace]
"#,
        core = workspace.join("events-core").display(),
    );
    fs::write(folder.join("Cargo.toml"), manifest).expect("writable");
    // The very versions that are there already: nothing is downloaded.
    fs::copy(workspace.join("Cargo.lock"), folder.join("Cargo.lock")).expect("the lock file");
    fs::write(folder.join("src/lib.rs"), source).expect("writable");
    folder
}
