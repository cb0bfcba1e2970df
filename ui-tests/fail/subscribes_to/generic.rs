use events_core::prelude::*;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
}

#[subscribes_to(SystemChanged)]
async fn on_change<T: Clone + Send + Sync + 'static>(_event: SystemChanged, _state: State<T>) {}

fn main() {}
