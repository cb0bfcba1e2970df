use events_core::prelude::*;

#[publishes(E)]
fn relay<E: Event>(session: &mut impl Session, event: E) {
    publish_after_commit(session, event).ok();
}

fn main() {}
