use events_core::prelude::*;

#[derive(Event)]
#[event(version = 2)]
struct SystemChanged {
    system_id: String,
    user_id: String,
}

fn main() {}
