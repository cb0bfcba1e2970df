use events_core::prelude::*;
use std::cell::Cell;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    count: Cell<u32>,
}

fn main() {}
