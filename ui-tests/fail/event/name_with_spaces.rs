use events_core::prelude::*;

#[derive(Event)]
#[event(name = "system changed")]
struct SystemChanged {
    system_id: String,
    user_id: String,
}

fn main() {}
