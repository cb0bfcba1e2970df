//! Random sequences of operations, on a broker and on a model of it, side by side.
//!
//! The clock is moved by hand. After each step the two must agree: on what was returned, on the
//! counts, on the dead letters and on who is registered.

mod expected;
mod liveness;
mod operation;
mod program;
mod run;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

/// Tests a broker, for a [`Harness`](events_testing::contract::Harness). How many cases of how many
/// steps: what takes some seconds, unless `PROPTEST_CASES` says otherwise.
macro_rules! agrees_with_the_model {
    ($broker:ident: $harness:ty, $cases:literal of $steps:expr) => {
        proptest! {
            #![proptest_config(config($cases))]

            #[test]
            fn $broker(operations in operation::sequences($steps)) {
                run::agrees::<$harness>(&operations)?;
            }
        }
    };
}

fn config(cases: u32) -> ProptestConfig {
    let cases = match std::env::var_os("PROPTEST_CASES") {
        Some(_) => ProptestConfig::default().cases,
        None => cases,
    };
    ProptestConfig {
        cases,
        max_shrink_time: 60_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("failures"))),
        ..ProptestConfig::default()
    }
}

agrees_with_the_model!(memory_agrees_with_the_model: crate::contracts::Memory, 400 of 1..60);
agrees_with_the_model!(sqlite_agrees_with_the_model: crate::contracts::SqliteFile, 100 of 1..60);
agrees_with_the_model!(postgres_agrees_with_the_model: crate::contracts::PostgresDatabase, 5 of 60..120);
