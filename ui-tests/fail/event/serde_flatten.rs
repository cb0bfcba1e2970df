use events_core::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Event, Serialize, Deserialize)]
struct Owner {
    user_id: String,
}

#[derive(Event, Serialize, Deserialize)]
struct SystemChanged {
    system_id: String,
    #[serde(flatten)]
    user_id: Owner,
}

fn main() {}
