use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    #[event(renam = "user")]
    user_id: String,
}

fn main() {}
