use events_core::prelude::*;
use serde::{Deserialize, Serialize};

mod shout {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(text: &str, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&text.to_uppercase())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
        String::deserialize(from)
    }
}

#[derive(Event, Serialize, Deserialize)]
struct SystemChanged {
    system_id: String,
    #[serde(with = "shout")]
    user_id: String,
}

fn main() {}
