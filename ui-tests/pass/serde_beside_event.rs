//! serde's derives and those of its attributes that leave the JSON as it is.

use events_core::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Event, Serialize, Deserialize, Debug, PartialEq)]
#[event(name = "system.changed")]
#[serde(deny_unknown_fields, rename = "system.changed", expecting = "a change", crate = "serde")]
struct Changed {
    #[event(rename = "system", alias = "id")]
    #[serde(rename = "system", alias = "id")]
    system_id: String,
    #[event(default)]
    #[serde(default)]
    count: u32,
    #[serde(bound = "")]
    note: Option<String>,
}

fn main() {
    let event = Changed { system_id: "crm".into(), count: 1, note: None };
    let ours = events_core::event::encode(&event).expect("encodes");
    assert_eq!(serde_json::to_string(&event).expect("encodes"), *ours);
    assert_eq!(serde_json::from_str::<Changed>(&ours).expect("decodes"), event);
}
