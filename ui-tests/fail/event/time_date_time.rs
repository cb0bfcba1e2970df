use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    at: time::OffsetDateTime,
}

fn main() {}
