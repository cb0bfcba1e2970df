use events_core::prelude::*;
use std::collections::HashMap;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    then: HashMap<String, Box<dyn Fn(u32)>>,
}

fn main() {}
