use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
}

struct Database;

impl events_core::extract::HandlerTransaction for Database {}

#[subscribes_to(SystemChanged)]
async fn on_change<'a>(_event: SystemChanged, _transaction: &'a mut Database) {}

fn main() {}
