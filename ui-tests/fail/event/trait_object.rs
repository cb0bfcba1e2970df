use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    then: Box<dyn Fn(u32)>,
}

fn main() {}
