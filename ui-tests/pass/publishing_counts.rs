//! A marked function publishes through its own registration, which counts.

use events_core::prelude::*;
use events_core::session::{PendingEvents, PublishSite};

#[derive(Event)]
struct Changed {
    id: u32,
}

#[publishes(Changed)]
fn change(session: &mut impl Session, id: u32) -> Result<EventId, PublishError> {
    publish_after_commit(session, Changed { id })
}

struct InMemory(PendingEvents);

impl Session for InMemory {
    fn pending_events(&self) -> &PendingEvents {
        &self.0
    }

    fn pending_events_mut(&mut self) -> &mut PendingEvents {
        &mut self.0
    }
}

fn main() {
    let events = Events::builder().build().expect("all is well");
    let mut session = InMemory(PendingEvents::new(&events));
    for id in 1..=3 {
        change(&mut session, id).expect("encodes");
    }
    let pending = session.0.take();
    let payloads: Vec<_> = pending.iter().map(|event| &*event.payload).collect();
    assert_eq!(payloads, [r#"{"id":1}"#, r#"{"id":2}"#, r#"{"id":3}"#]);
    let PublishSite::Declared(publisher) = pending[0].publisher else { panic!("it is marked") };
    assert_eq!(publisher.path(), concat!(module_path!(), "::change"));
    assert_eq!(publisher.events[0].published(), 3);
}
