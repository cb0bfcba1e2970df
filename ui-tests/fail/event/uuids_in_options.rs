use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    ids: Vec<Option<uuid::Uuid>>,
}

fn main() {}
