use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    #[event(default = "nobody")]
    user_id: String,
}

fn main() {}
