use events_core::prelude::*;
use uuid::Uuid as String;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    id: String,
}

fn main() {}
