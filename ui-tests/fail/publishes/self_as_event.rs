use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
}

impl SystemChanged {
    #[publishes(Self)]
    fn announce(self, session: &mut impl Session) {
        publish_after_commit(session, self).ok();
    }
}

fn main() {}
