use events_core::prelude::*;

#[derive(Event)]
#[event(nam = "system.changed")]
struct SystemChanged {
    id: uuid::Uuid,
    #[event(rename = "")]
    system_id: String,
}

fn main() {}
