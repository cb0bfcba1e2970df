use events_core::prelude::*;
use std::collections::BTreeSet;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    values: BTreeSet<f64>,
}

fn main() {}
