use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
}

#[subscribes_to(SystemChanged)]
async fn on_change<const N: usize>(_event: SystemChanged) {}

fn main() {}
