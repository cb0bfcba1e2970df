use events_core::prelude::*;
use std::rc::Rc;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    name: Rc<String>,
}

fn main() {}
