//! events-core under another path, in a module where nothing has its usual name.

mod vendored {
    pub mod inner {
        pub use ::events_core as events;
    }
}

mod strange {
    #![allow(dead_code, non_camel_case_types)]

    struct Result;
    struct Option;
    struct Some;
    struct None;
    struct Ok;
    struct Vec;
    struct Box;
    struct str;
    struct Event;
    struct EventField;
    trait Default {}
    trait Sized {}
    mod core {}
    mod std {}

    use crate::vendored::inner::events::prelude::{
        PublishError, Report, Scope, Session, State, publishes, reconciles, subscribes_to,
    };
    use crate::vendored::inner::events::{EventId, Failure};

    #[derive(crate::vendored::inner::events::Event)]
    #[event(crate = crate::vendored::inner::events)]
    pub struct Changed {
        id: u32,
        #[event(default)]
        tree: ::std::vec::Vec<Self>,
    }

    #[derive(crate::vendored::inner::events::Event)]
    #[event(name = "strange.noted", crate = crate::vendored::inner::events)]
    pub struct Noted {}

    #[subscribes_to(Changed, timeout = "1s", debounce = "1s", debounce_by = id, reconciled_by = sweep, crate = crate::vendored::inner::events)]
    async fn on_change(_event: Changed, _state: State<u32>) {}

    #[subscribes_to(Noted, crate = crate::vendored::inner::events)]
    fn on_note(_event: Noted) -> ::core::result::Result<(), Failure> {
        ::core::result::Result::Ok(())
    }

    #[reconciles(every = "1s", crate = crate::vendored::inner::events)]
    async fn sweep(_scope: Scope) -> ::core::result::Result<Report, Failure> {
        ::core::result::Result::Ok(<Report as ::core::default::Default>::default())
    }

    #[publishes(Changed, Noted, crate = crate::vendored::inner::events)]
    fn publish(session: &mut dyn Session) -> ::core::result::Result<EventId, PublishError> {
        publish_after_commit(session, Noted {})
    }
}

fn main() {}
