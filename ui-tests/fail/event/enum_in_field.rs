use events_core::prelude::*;

enum Change {
    Added,
    Removed,
}

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    change: Change,
}

fn main() {}
