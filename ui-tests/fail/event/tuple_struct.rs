use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged(String, u32);

fn main() {}
