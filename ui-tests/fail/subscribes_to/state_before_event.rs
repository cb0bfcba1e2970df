use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
}

#[subscribes_to(SystemChanged)]
async fn on_change(_pool: State<u32>, _event: SystemChanged) {}

fn main() {}
