//! Names are the paths with dots, without the marks of raw identifiers.

use events_core::prelude::*;

mod systems {
    pub mod r#type {
        use events_core::prelude::*;

        #[derive(Event)]
        pub struct Match {}

        #[subscribes_to(Match, freshness_only)]
        pub async fn r#loop(_event: Match) {}

        #[reconciles]
        pub async fn r#while(_scope: Scope) -> Result<Report, Failure> {
            Ok(Report::default())
        }
    }
}

/// A function with the name of one of our own.
#[subscribes_to(systems::r#type::Match, reconciled_by = systems::r#type::r#while)]
fn call(_event: systems::r#type::Match) {}

fn main() {
    let root = module_path!();
    assert_eq!(systems::r#type::Match::NAME, format!("{root}.systems.type.Match"));
    let registry = events_core::Registry::linked().expect("all is well");
    let tasks: Vec<_> = registry.subscribers().iter().map(|subscriber| subscriber.task).collect();
    assert_eq!(
        tasks,
        [
            format!("events.{root}.systems.type.Match.{root}.call"),
            format!("events.{root}.systems.type.Match.{root}.systems.type.loop"),
        ]
    );
    assert_eq!(registry.reconcilers()[0].name, format!("{root}.systems.type.while"));
}
