use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
}

struct Database;

impl events_core::extract::HandlerTransaction for Database {}

#[subscribes_to(SystemChanged)]
async fn on_change(_event: SystemChanged, _one: &mut Database, _two: &mut Database) {}

fn main() {}
