use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    values: [u8],
}

fn main() {}
