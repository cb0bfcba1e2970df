use events_core::prelude::*;

#[derive(Event)]
#[event(name)]
struct SystemChanged {
    system_id: String,
    user_id: String,
}

fn main() {}
