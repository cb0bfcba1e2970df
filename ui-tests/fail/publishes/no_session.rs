use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
}

#[publishes(SystemChanged)]
fn change(pool: &mut u32) {
    publish_after_commit(pool, SystemChanged { system_id: "crm".into() }).ok();
}

fn main() {}
