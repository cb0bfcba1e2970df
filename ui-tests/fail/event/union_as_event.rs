use events_core::prelude::*;

#[derive(Event)]
union SystemChanged {
    small: u8,
    large: u64,
}

fn main() {}
