use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    total: u128,
}

fn main() {}
