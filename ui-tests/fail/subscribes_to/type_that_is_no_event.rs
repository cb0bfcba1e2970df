use events_core::prelude::*;

struct SystemChanged {
    system_id: String,
}

#[subscribes_to(SystemChanged)]
async fn on_change(event: SystemChanged) {
    drop(event.system_id);
}

fn main() {}
