use events_core::prelude::*;

#[derive(Event)]
#[event]
struct SystemChanged {
    system_id: String,
    user_id: String,
}

fn main() {}
