use events_core::prelude::*;

#[derive(Event)]
enum SystemChanged {
    Added,
}

#[derive(Event)]
struct Audited {
    change: SystemChanged,
    previous: Option<SystemChanged>,
}

#[subscribes_to(SystemChanged)]
async fn on_change(_event: SystemChanged) {}

#[publishes(SystemChanged)]
fn change(session: &mut impl Session) {
    publish_after_commit(session, SystemChanged::Added).ok();
}

fn main() {}
