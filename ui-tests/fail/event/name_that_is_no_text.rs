use events_core::prelude::*;

#[derive(Event)]
#[event(name = 7)]
struct SystemChanged {
    system_id: String,
    user_id: String,
}

fn main() {}
