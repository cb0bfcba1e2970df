use events_core::prelude::*;
use std::sync::atomic::AtomicU64;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    count: AtomicU64,
}

fn main() {}
