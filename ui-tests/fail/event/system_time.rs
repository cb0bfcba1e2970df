use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    at: std::time::SystemTime,
}

fn main() {}
