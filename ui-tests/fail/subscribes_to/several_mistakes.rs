use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
}

#[subscribes_to(SystemChanged, queue = "slow lane", max_retries = 2000, tiemout = "30s", priority = "high")]
async fn on_change(_event: &SystemChanged) -> impl Future<Output = ()> {
    async {}
}

fn main() {}
