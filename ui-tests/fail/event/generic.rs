use events_core::prelude::*;

#[derive(Event)]
struct Changed<T> {
    value: T,
}

fn main() {}
