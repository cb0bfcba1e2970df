use events_core::prelude::*;

#[reconciles]
struct Sweep;

fn main() {}
