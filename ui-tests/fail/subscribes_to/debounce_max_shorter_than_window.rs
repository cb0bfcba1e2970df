use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
}

#[subscribes_to(SystemChanged, debounce = "5m", debounce_by = system_id, debounce_max = "1m")]
async fn on_change(_event: SystemChanged) {}

fn main() {}
