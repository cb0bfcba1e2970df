use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
}

#[subscribes_to(SystemChanged)]
struct OnChange;

fn main() {}
