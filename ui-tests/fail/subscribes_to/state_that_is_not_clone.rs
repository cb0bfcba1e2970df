use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
}

struct Pool;

#[subscribes_to(SystemChanged)]
async fn on_change(_event: SystemChanged, _pool: State<Pool>) {}

fn main() {}
