use events_core::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Event, Serialize, Deserialize)]
struct SystemChanged {
    system_id: String,
    #[serde(skip_serializing)]
    user_id: String,
}

fn main() {}
