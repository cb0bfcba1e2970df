use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
}

struct Stewards;

impl Stewards {
    #[subscribes_to(SystemChanged)]
    async fn on_change(_event: SystemChanged) {}
}

fn main() {}
