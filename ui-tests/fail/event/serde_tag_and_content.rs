use events_core::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Event, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
struct SystemChanged {
    system_id: String,
    user_id: String,
}

fn main() {}
