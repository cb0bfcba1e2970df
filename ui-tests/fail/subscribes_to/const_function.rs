use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    count: u32,
}

#[subscribes_to(SystemChanged)]
const fn on_change(_event: SystemChanged) {}

fn main() {}
