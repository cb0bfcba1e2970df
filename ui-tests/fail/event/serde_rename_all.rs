use events_core::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Event, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SystemChanged {
    system_id: String,
    user_id: String,
}

fn main() {}
