//! Functions and events that `macro_rules!` makes.

use events_core::prelude::*;

macro_rules! event {
    ($event:ident { $($field:ident: $ty:ty),* }, $queue:literal, $retries:expr, $on:ident, $publish:ident) => {
        #[derive(Event)]
        struct $event { $($field: $ty),* }

        #[subscribes_to($event, queue = $queue, max_retries = $retries, freshness_only)]
        async fn $on(_event: $event, _state: State<u32>) {}

        #[publishes($event)]
        fn $publish(session: &mut impl Session, event: $event) -> Result<EventId, PublishError> {
            queue!(session, event)
        }
    };
}

macro_rules! queue {
    ($session:expr, $event:expr) => {
        publish_after_commit($session, $event)
    };
}

macro_rules! listen {
    ($event:ty, $other:path, $on:ident) => {
        #[subscribes_to($event, freshness_only)]
        fn $on(_event: $other) {}

        const _: () = {
            #[allow(dead_code)]
            #[publishes($other)]
            fn publish(session: &mut impl Session, event: $event) {
                publish_after_commit(session, event).ok();
            }
        };
    };
}

event!(Changed { id: u32, names: Vec<Option<String>> }, "slow", 3, on_change, publish_change);
event!(Removed { id: [u8; 4] }, "fast", 4, on_removal, publish_removal);
listen!(crate::Changed, crate::Changed, also_on_change);

fn main() {
    let registry = events_core::Registry::linked().expect("all is well");
    assert_eq!(registry.subscribers_of(Changed::NAME).len(), 2);
    assert_eq!(registry.subscribers_of(Removed::NAME)[0].queue, Some("fast"));
    assert_eq!(registry.publishers().len(), 3);
}
