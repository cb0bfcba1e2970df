use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
}

struct Stewards;

impl Stewards {
    #[subscribes_to(SystemChanged)]
    async fn on_change(&self, _event: SystemChanged) {}
}

fn main() {}
