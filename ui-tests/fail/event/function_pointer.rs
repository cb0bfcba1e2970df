use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    then: fn(u32) -> u32,
}

fn main() {}
