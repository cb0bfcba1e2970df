use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
}

#[publishes()]
fn change(_session: &mut impl Session) {}

fn main() {}
