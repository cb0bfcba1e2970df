use chrono::{DateTime, Utc};
use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    at: DateTime<Utc>,
}

fn main() {}
