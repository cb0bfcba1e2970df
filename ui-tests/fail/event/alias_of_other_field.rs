use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    #[event(alias = "system_id")]
    user_id: String,
}

fn main() {}
