use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    total: usize,
}

fn main() {}
