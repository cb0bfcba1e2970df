use events_core::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Event, Serialize, Deserialize)]
struct SystemChanged {
    system_id: String,
    #[event(rename = "user")]
    #[serde(rename = "owner")]
    user_id: String,
}

fn main() {}
