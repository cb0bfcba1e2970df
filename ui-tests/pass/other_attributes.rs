//! `async_trait` and `instrument`, above ours or below.

use async_trait::async_trait;
use events_core::prelude::*;
use tracing::instrument;

#[derive(Event, Debug)]
struct Changed {
    id: u32,
}

#[async_trait]
trait Repository {
    async fn change(&self, session: &mut (dyn Session + Send)) -> Result<(), PublishError>;

    #[publishes(Changed)]
    async fn touch(&self, session: &mut (dyn Session + Send)) -> Result<(), PublishError> {
        std::future::ready(()).await;
        publish_after_commit(session, Changed { id: 0 })?;
        Ok(())
    }
}

struct Systems;

#[async_trait]
impl Repository for Systems {
    #[publishes(Changed)]
    async fn change(&self, session: &mut (dyn Session + Send)) -> Result<(), PublishError> {
        std::future::ready(()).await;
        publish_after_commit(session, Changed { id: 0 })?;
        Ok(())
    }
}

impl Systems {
    #[instrument(skip_all)]
    #[publishes(Changed)]
    async fn above(&self, session: &mut (impl Session + Send)) -> Result<(), PublishError> {
        publish_after_commit(session, Changed { id: 0 }).map(drop)
    }

    #[publishes(Changed)]
    #[instrument(skip_all, err)]
    async fn below(&self, session: &mut (impl Session + Send)) -> Result<(), PublishError> {
        publish_after_commit(session, Changed { id: 0 }).map(drop)
    }
}

#[instrument(skip_all)]
#[subscribes_to(Changed, freshness_only)]
async fn instrumented_above(event: Changed) {
    drop(event);
}

#[subscribes_to(Changed, freshness_only)]
#[instrument(err(Debug))]
async fn instrumented_below(event: Changed) -> Result<(), Failure> {
    drop(event);
    Ok(())
}

#[reconciles]
#[instrument]
async fn instrumented_sweep(scope: Scope) -> Result<Report, Failure> {
    drop(scope);
    Ok(Report::default())
}

#[allow(dead_code)]
#[must_use]
#[publishes(Changed)]
#[inline]
/// With documentation below.
fn between(session: &mut impl Session) -> Result<(), PublishError> {
    publish_after_commit(session, Changed { id: 0 }).map(drop)
}

fn main() {
    let registry = events_core::Registry::linked().expect("all is well");
    assert_eq!(registry.publishers().len(), 5);
    assert_eq!(registry.subscribers().len(), 2);
    assert_eq!(registry.reconcilers().len(), 1);
}
