use events_core::prelude::*;
use std::time::Duration;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    pause: Duration,
}

fn main() {}
