//! The examples of the README and of the guide, compiled and run as documentation tests.
//!
//! Examples that read what is linked (`Events::builder().build()`) are marked `standalone_crate`:
//! others share one binary, and would see each other's subscribers.

#[cfg(test)]
mod checks;

macro_rules! pages {
    ($($name:ident: $path:literal)*) => {$(
        #[cfg(doctest)]
        #[doc = include_str!($path)]
        pub mod $name {}
    )*};
}

pages! {
    readme: "../README.md"
    design: "design.md"
    lifecycle: "lifecycle.md"
    guide: "guide/README.md"
    concepts: "guide/concepts.md"
    events: "guide/events.md"
    publishing: "guide/publishing.md"
    subscribing: "guide/subscribing.md"
    reconciling: "guide/reconciling.md"
    testing: "guide/testing.md"
    coverage: "guide/coverage.md"
    forwarding: "guide/forwarding.md"
    operations: "guide/operations.md"
    postgresql: "guide/postgresql.md"
    celery: "guide/celery.md"
}
