//! `#[cfg]` on everything, and every visibility.

#[allow(unused_imports)]
use events_core::prelude::*;

#[derive(Event)]
pub struct Changed {
    pub id: u32,
    #[cfg(any())]
    pub gone: uuid::Uuid,
}

#[cfg(any())]
#[subscribes_to(NoSuchEvent)]
async fn gone(_event: NoSuchEvent) {}

#[subscribes_to(Changed, freshness_only)]
#[cfg(any())]
async fn gone_too(_event: NoSuchEvent) {}

#[cfg(all())]
#[subscribes_to(Changed, freshness_only)]
pub async fn here(_event: Changed) {}

pub mod inner {
    use events_core::prelude::*;

    #[subscribes_to(super::Changed, reconciled_by = sweep)]
    pub(in crate::inner) async fn within(_event: super::Changed) {}

    #[reconciles]
    pub(super) async fn sweep(_scope: Scope) -> Result<Report, Failure> {
        Ok(Report::default())
    }
}

fn main() {
    let registry = events_core::Registry::linked().expect("all is well");
    assert_eq!(registry.subscribers().len(), 2);
}
