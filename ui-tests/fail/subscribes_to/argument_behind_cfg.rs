use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
}

#[subscribes_to(SystemChanged)]
async fn on_change(_event: SystemChanged, #[cfg(unix)] _pool: State<u32>) {}

fn main() {}
