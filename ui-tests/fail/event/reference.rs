use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    name: &'static str,
}

fn main() {}
