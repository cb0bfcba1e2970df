use events_core::prelude::*;

#[derive(Event)]
struct Changed<'a> {
    name: &'a str,
}

fn main() {}
