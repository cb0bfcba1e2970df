use events_core::prelude::*;
use uuid::Uuid as Identifier;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    id: Identifier,
}

fn main() {}
