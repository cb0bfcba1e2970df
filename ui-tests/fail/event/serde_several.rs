use events_core::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Event, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct SystemChanged {
    #[serde(rename = "system", default)]
    system_id: String,
    #[serde(skip)]
    user_id: String,
}

fn main() {}
