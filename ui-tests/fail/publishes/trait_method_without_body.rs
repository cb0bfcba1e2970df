use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
}

trait Systems {
    #[publishes(SystemChanged)]
    fn change(&self, session: &mut dyn Session);
}

fn main() {}
