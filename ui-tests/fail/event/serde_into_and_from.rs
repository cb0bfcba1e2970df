use events_core::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Wire {
    user_id: String,
}

impl From<SystemChanged> for Wire {
    fn from(event: SystemChanged) -> Self {
        Self { user_id: event.user_id }
    }
}

impl From<Wire> for SystemChanged {
    fn from(wire: Wire) -> Self {
        Self { system_id: String::new(), user_id: wire.user_id }
    }
}

#[derive(Event, Clone, Serialize, Deserialize)]
#[serde(into = "Wire", from = "Wire")]
struct SystemChanged {
    system_id: String,
    user_id: String,
}

fn main() {}
