use events_core::prelude::*;

struct Owner {
    user_id: String,
}

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    owner: Owner,
}

fn main() {}
