use events_core::prelude::*;

#[derive(Event)]
struct Changed<const N: usize> {
    value: [u8; N],
}

fn main() {}
