use events_core::prelude::*;
use std::sync::Mutex;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    count: Mutex<u32>,
}

fn main() {}
