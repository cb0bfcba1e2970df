use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged;

fn main() {}
