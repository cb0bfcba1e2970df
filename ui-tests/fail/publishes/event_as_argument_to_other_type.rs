use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
}

#[publishes(SystemChanged)]
fn change(session: &mut impl Session) {
    publish_after_commit(session, "crm").ok();
}

fn main() {}
