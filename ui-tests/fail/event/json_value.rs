use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    details: serde_json::Value,
}

fn main() {}
