use events_core::prelude::*;

struct SystemChanged;

#[publishes(SystemChanged)]
fn change(session: &mut impl Session) {
    publish_after_commit(session, SystemChanged).ok();
}

fn main() {}
