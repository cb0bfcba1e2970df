use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
}

#[subscribes_to(SystemChanged, delay = "0s")]
async fn on_change(_event: SystemChanged) {}

fn main() {}
