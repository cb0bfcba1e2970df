use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    #[event(default)]
    bytes: [u8; 64],
}

fn main() {}
