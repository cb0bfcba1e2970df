//! Everything may be declared inside a function.

use events_core::prelude::*;

fn main() {
    #[derive(Event)]
    struct Changed {
        id: u32,
        before: Before,
    }

    #[derive(Event)]
    struct Before {
        id: u32,
    }

    #[subscribes_to(Changed, reconciled_by = sweep)]
    async fn on_change(event: Changed, _state: State<u32>) -> Result<(), Failure> {
        assert_ne!(event.id, event.before.id);
        Ok(())
    }

    #[subscribes_to(Changed, freshness_only)]
    fn on_change_blocking(_event: Changed) {}

    #[reconciles]
    async fn sweep(_scope: Scope) -> Result<Report, Failure> {
        Ok(Report::default())
    }

    #[publishes(Changed)]
    fn publish(session: &mut dyn Session) -> Result<EventId, PublishError> {
        publish_after_commit(session, Changed { id: 2, before: Before { id: 1 } })
    }

    let _ = publish;
    let registry = events_core::Registry::linked().expect("all is well");
    assert_eq!(registry.subscribers_of(Changed::NAME).len(), 2);
    assert_eq!(registry.reconcilers().len(), 1);
    assert_eq!(registry.publishers()[0].events[0].event.name, Changed::NAME);
}
