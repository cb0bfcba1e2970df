use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
}

#[publishes(SystemChanged)]
const fn change() {}

fn main() {}
