use events_core::prelude::*;

#[derive(Event)]
#[event(name = "shop::Changed")]
struct SystemChanged {
    system_id: String,
    user_id: String,
}

fn main() {}
