use events_core::prelude::*;
use serde::Serialize;

mod other {
    pub struct System {
        id: String,
    }

    impl System {
        pub fn id(&self) -> String {
            self.id.clone()
        }
    }
}

#[derive(Event, Serialize)]
#[serde(remote = "other::System")]
struct SystemChanged {
    #[serde(getter = "other::System::id")]
    id: String,
}

fn main() {}
