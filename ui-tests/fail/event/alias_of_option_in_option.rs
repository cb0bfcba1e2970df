use events_core::prelude::*;

type Note = Option<String>;

#[derive(Event)]
struct SystemChanged {
    system_id: String,
    note: Option<Note>,
}

fn main() {}
