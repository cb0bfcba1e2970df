use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    outcome: Result<u32, String>,
}

fn main() {}
