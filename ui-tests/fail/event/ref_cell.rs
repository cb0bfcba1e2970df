use events_core::prelude::*;
use std::cell::RefCell;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    names: RefCell<Vec<String>>,
}

fn main() {}
