use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    note: Option<Option<String>>,
}

fn main() {}
