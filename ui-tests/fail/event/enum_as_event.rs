use events_core::prelude::*;

#[derive(Event)]
enum SystemChanged {
    Added { user_id: String },
    Removed,
}

fn main() {}
