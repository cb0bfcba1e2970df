use events_core::prelude::*;

type Identifier = uuid::Uuid;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    id: Identifier,
}

fn main() {}
