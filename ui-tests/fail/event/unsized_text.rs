use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    name: str,
}

fn main() {}
