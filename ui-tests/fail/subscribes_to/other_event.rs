use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
}

#[derive(Event)]
struct UserChanged {
    user_id: String,
}

#[subscribes_to(SystemChanged)]
async fn on_change(_event: UserChanged) {}

fn main() {}
