use events_core::prelude::*;
use std::collections::HashMap;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    names: HashMap<u32, String>,
}

fn main() {}
