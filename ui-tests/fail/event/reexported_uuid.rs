use events_core::prelude::*;

mod ids {
    pub use uuid::Uuid as SystemId;
}

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    id: ids::SystemId,
}

fn main() {}
