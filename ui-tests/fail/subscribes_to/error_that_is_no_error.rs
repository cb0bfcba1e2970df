use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
}

#[subscribes_to(SystemChanged)]
async fn on_change(_event: SystemChanged) -> Result<(), u32> {
    Ok(())
}

fn main() {}
