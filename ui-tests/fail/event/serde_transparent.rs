use events_core::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Event, Serialize, Deserialize)]
#[serde(transparent)]
struct SystemChanged {
    system_id: String,
}

fn main() {}
