use events_core::prelude::*;
use uuid::Uuid;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    id: Uuid,
}

fn main() {}
