use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
}

#[subscribes_to(SystemChanged, delay = "5m", debounce = "30s", debounce_by = system_id)]
async fn on_change(_event: SystemChanged) {}

fn main() {}
