use events_core::prelude::*;
use std::rc::Rc;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
}

#[subscribes_to(SystemChanged)]
async fn on_change(_event: SystemChanged, _pool: State<Rc<u32>>) {}

fn main() {}
