use events_core::prelude::*;
use std::sync::Arc;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    name: Arc<str>,
}

fn main() {}
