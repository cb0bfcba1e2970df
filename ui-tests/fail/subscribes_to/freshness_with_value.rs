use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
}

#[subscribes_to(SystemChanged, freshness_only = true)]
async fn on_change(_event: SystemChanged) {}

fn main() {}
