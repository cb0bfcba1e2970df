use events_core::prelude::*;
use std::borrow::Cow;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    name: Cow<'static, str>,
}

fn main() {}
