use events_core::prelude::*;

#[derive(Event)]
#[event(name = "a.b", name = "a.c")]
struct SystemChanged {
    system_id: String,
    user_id: String,
}

fn main() {}
