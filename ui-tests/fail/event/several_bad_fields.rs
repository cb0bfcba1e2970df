use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    id: uuid::Uuid,
    system_id: String,
    at: std::time::SystemTime,
    total: u128,
}

fn main() {}
