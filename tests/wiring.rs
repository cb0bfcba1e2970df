//! Wrong wiring does not start, and says what to write; coverage, green and red.

use events_core::Registry;
use events_core::prelude::*;
use events_core::registry::{Problem, RegistryBuilder};
use events_testing::{TestSession, coverage};

fn problems(builder: RegistryBuilder) -> Vec<String> {
    let error = builder.build().expect_err("the wiring is wrong");
    let text = error.to_string();
    assert!(text.starts_with("the events are wired wrongly"), "{text}");
    error.problems().iter().map(ToString::to_string).collect()
}

/// The one problem, which says all of this.
fn says(builder: RegistryBuilder, parts: &[&str]) {
    let problems = problems(builder);
    assert_eq!(problems.len(), 1, "{problems:?}");
    for part in parts {
        assert!(problems[0].contains(part), "`{part}` is not in: {}", problems[0]);
    }
}

#[derive(Event)]
struct Happened {}

mod names {
    use super::*;

    #[subscribes_to(Happened, freshness_only, name = "pinned.name")]
    fn first(_: Happened) {}

    #[subscribes_to(Happened, freshness_only, name = "pinned.name")]
    fn second(_: Happened) {}

    #[subscribes_to(Happened, freshness_only, name = "third", alias = "pinned.name")]
    fn third(_: Happened) {}

    #[subscribes_to(Happened, freshness_only, alias = "old.name")]
    fn fourth(_: Happened) {}

    #[subscribes_to(Happened, freshness_only, alias = "old.name")]
    fn fifth(_: Happened) {}

    #[test]
    fn two_subscribers_with_one_task_name_do_not_start() {
        says(
            Registry::builder().subscriber::<first>().subscriber::<second>(),
            &["`pinned.name`", "names::first` (tests/wiring.rs:", "names::second`", "name = "],
        );
    }

    #[test]
    fn alias_of_another_subscribers_name_does_not_start() {
        says(
            Registry::builder().subscriber::<first>().subscriber::<third>(),
            &["alias `pinned.name` of `suite::wiring::names::third`", "names::first`"],
        );
    }

    #[test]
    fn alias_of_another_subscribers_alias_does_not_start() {
        says(
            Registry::builder().subscriber::<fourth>().subscriber::<fifth>(),
            &["alias `old.name`", "names::fourth`", "names::fifth`"],
        );
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let builder = Registry::builder().linked_in(module_path!());
        assert_eq!(problems(builder).len(), 3);
    }
}

mod event_names {
    use super::*;

    mod one {
        use super::*;
        #[derive(Event)]
        #[event(name = "same.Name")]
        pub struct Named {}
        #[subscribes_to(Named, freshness_only)]
        pub fn on_one(_: Named) {}
    }

    mod other {
        use super::*;
        #[derive(Event)]
        #[event(name = "same.Name")]
        pub struct Named {}
        #[publishes(Named)]
        #[expect(dead_code, reason = "only registered")]
        pub fn publish_other(session: &mut impl Session) {
            publish_after_commit(session, Named {}).ok();
        }
    }

    #[test]
    fn two_types_with_one_event_name_do_not_start() {
        says(
            Registry::builder().linked_in(module_path!()),
            &[
                "`same.Name`",
                "event_names::one::Named",
                "event_names::other::Named",
                "#[event(name",
            ],
        );
    }
}

mod reconcilers {
    use super::*;
    use events_core::extract::States;

    #[reconciles]
    async fn sweep(scope: Scope, State(found): State<u64>) -> Result<Report, Failure> {
        match scope {
            Scope::All => Ok(Report { checked: found, ..Report::default() }),
            Scope::Keys(_) => Err(Failure::retry("only everything can be swept")),
        }
    }

    #[subscribes_to(Happened, reconciled_by = sweep)]
    fn reconciled(_: Happened) {}

    #[test]
    fn subscriber_whose_reconciler_is_not_registered_does_not_start() {
        says(
            Registry::builder().subscriber::<reconciled>(),
            &["reconciled by `suite.wiring.reconcilers.sweep`, which is not registered"],
        );
    }

    #[tokio::test]
    async fn reconciler_runs_on_demand_and_returns_its_report() {
        let registry = Registry::builder().linked_in(module_path!()).build().unwrap();
        let events = Events::builder().registry(registry).build().unwrap();
        let mut states = States::new();
        let error = events.reconcile("sweep", Scope::All, &states).await.unwrap_err();
        assert!(error.to_string().contains("cannot be called"), "{error}");
        states.insert(7_u64);
        let report = events.reconcile("sweep", Scope::All, &states).await.unwrap();
        assert_eq!(report.checked, 7);
        let error = events.reconcile("sweep", Scope::Keys(vec![]), &states).await.unwrap_err();
        assert!(error.to_string().contains("failed"), "{error}");
        let error = events.reconcile("swoop", Scope::All, &states).await.unwrap_err();
        assert!(
            error.to_string().contains("this program has suite.wiring.reconcilers.sweep"),
            "{error}"
        );
    }
}

mod linked {
    use super::*;

    // A crate without any registration, as one whose feature is off would be.
    events_core::link_subscribers!(serde_json, events_testing::contract);

    #[test]
    fn crate_that_registers_nothing_does_not_start() {
        let error = Registry::linked().unwrap_err();
        let missing: Vec<_> = error
            .problems()
            .iter()
            .filter(|problem| matches!(problem, Problem::NothingLinked { .. }))
            .map(ToString::to_string)
            .collect();
        assert_eq!(missing.len(), 2, "{missing:?}");
        assert!(
            missing[0].contains("link_subscribers!(") && missing[0].contains("tests/wiring.rs:")
        );
    }

    #[test]
    fn linked_program_finds_what_is_declared_anywhere() {
        // Other modules of this test program are wired wrongly on purpose.
        let error = Registry::linked().unwrap_err();
        assert!(
            error.problems().iter().any(|problem| matches!(problem, Problem::DuplicateTask { .. }))
        );
    }
}

#[test]
fn look_up_is_by_event_and_by_task_name() {
    let registry = Registry::builder().linked_in("suite::ping").build().unwrap();
    let [subscriber] = registry.subscribers() else { panic!("one subscriber") };
    assert_eq!(registry.subscribers_of(subscriber.event.name).len(), 1);
    assert!(registry.subscribers_of("nothing").is_empty());
    assert!(registry.subscriber("nothing").is_none());
    assert_eq!(registry.crates().into_iter().collect::<Vec<_>>(), ["suite"]);
}

mod green {
    use super::*;

    #[derive(Event)]
    struct Covered {}

    #[publishes(Covered)]
    fn publish(session: &mut impl Session) -> Result<EventId, PublishError> {
        publish_after_commit(session, Covered {})
    }

    #[subscribes_to(Covered, freshness_only)]
    fn on_covered(_: Covered) {}

    #[tokio::test]
    async fn coverage_is_green_when_publishers_and_subscribers_match() {
        let registry = Registry::builder().linked_in(module_path!()).build().unwrap();
        coverage(&registry).require_reconcilers().assert();
        let events = Events::builder().registry(registry).build().unwrap();
        let mut session = TestSession::new(&events);
        publish(&mut session).unwrap();
        session.commit().await.unwrap().assert_all_completed();
    }

    #[test]
    fn exemption_that_is_not_needed_is_reported() {
        let registry = Registry::builder().linked_in(module_path!()).build().unwrap();
        let warnings = coverage(&registry).exempt::<Covered>("no reason any more").check().unwrap();
        assert!(
            warnings.iter().any(|warning| warning.contains("green.Covered` is no longer needed")),
            "{warnings:?}"
        );
    }
}

mod red {
    use super::*;

    #[derive(Event)]
    struct Unpublished {}

    #[derive(Event)]
    struct Unheard {}

    #[derive(Event)]
    struct Forgotten {}

    #[subscribes_to(Unpublished)]
    fn on_unpublished(_: Unpublished) {}

    #[publishes(Unheard, Forgotten)]
    fn publish(session: &mut impl Session) -> Result<EventId, PublishError> {
        publish_after_commit(session, Unheard {})
    }

    #[subscribes_to(Forgotten, freshness_only)]
    fn on_forgotten(_: Forgotten) {}

    fn registry() -> Registry {
        Registry::builder().linked_in(module_path!()).build().unwrap()
    }

    #[test]
    fn coverage_names_every_mismatch_with_its_place_and_remedy() {
        publish(&mut TestSession::new(&crate::world::events_in(module_path!()))).unwrap();
        let error = coverage(&registry()).check().unwrap_err();
        for parts in [
            ["red::on_unpublished` (tests/wiring.rs:", "red.Unpublished`, which nobody publishes"],
            ["red::publish` (tests/wiring.rs:", "red.Unheard`, which nobody subscribes to"],
            ["red::publish` (tests/wiring.rs:", "red.Forgotten` but its body does not mention it"],
        ] {
            assert!(
                error.failures().iter().any(|text| parts.iter().all(|part| text.contains(part))),
                "{parts:?} is not in: {error}"
            );
        }
        assert_eq!(error.failures().len(), 3, "{error}");
    }

    #[test]
    fn subscriber_silent_about_lost_events_is_reported_and_can_be_made_to_fail() {
        let checked = |check: events_testing::Coverage<'_>| {
            check
                .exempt::<Unheard>("read by another program")
                .exempt::<Forgotten>("published by a plugin")
                .check()
        };
        let registry = registry();
        let text = checked(coverage(&registry)).unwrap_err().to_string();
        assert!(!text.contains("reconciled_by"), "{text}");
        let text = checked(coverage(&registry).require_reconcilers()).unwrap_err().to_string();
        assert!(text.contains("on_unpublished") && text.contains("reconciled_by = …"), "{text}");
    }

    #[test]
    fn exemption_needs_a_reason() {
        let error = coverage(&registry())
            .exempt::<Unheard>("read by another program")
            .exempt::<Forgotten>("published by a plugin")
            .exempt::<Unpublished>(" ")
            .check()
            .unwrap_err();
        assert_eq!(error.failures().len(), 1, "{error}");
        assert!(error.to_string().contains("red.Unpublished` has no reason"), "{error}");
    }

    #[test]
    #[should_panic(expected = "event coverage fails in 3 place(s)")]
    fn assert_fails_the_test() {
        coverage(&registry()).assert();
    }
}

mod unchecked_sites {
    use super::*;

    #[derive(Event)]
    struct Relayed {}

    #[test]
    fn unchecked_publishes_that_ran_are_reported_and_can_be_denied() {
        let events = crate::world::events_in(module_path!());
        let mut session = TestSession::new(&events);
        events_core::unchecked::publish_after_commit(&mut session, Relayed {}).unwrap();
        let registry = events.registry();
        let warnings = coverage(registry).check().unwrap();
        assert!(
            warnings
                .iter()
                .any(|text| text.contains("tests/wiring.rs:") && text.contains("Relayed`")),
            "{warnings:?}"
        );
        coverage(registry).deny_unchecked().check().unwrap_err();
    }
}

#[test]
fn settings_that_cannot_work_do_not_start() {
    for (json, key) in [
        (r#"{"lease":"1ms"}"#, "lease"),
        (r#"{"timeout":"0s"}"#, "timeout"),
        (r#"{"default_queue":"no blanks"}"#, "default_queue"),
        (r#"{"payload_limit_bytes":0}"#, "payload_limit_bytes"),
        (r#"{"retry_backoff":"2h"}"#, "max_retry_backoff"),
        (r#"{"retry_backoff":"0s"}"#, "retry_backoff"),
        (r#"{"unknown_task_delay":"0s"}"#, "unknown_task_delay"),
    ] {
        let settings: EventSettings = serde_json::from_str(json).unwrap();
        let registry = Registry::builder().build().unwrap();
        let error = Events::builder()
            .registry(registry)
            .settings(settings)
            .build()
            .unwrap_err()
            .to_string();
        assert!(error.contains(&format!("`{key}`")), "{error}");
    }
    let error = serde_json::from_str::<EventSettings>(r#"{"lease":"fifteen"}"#).unwrap_err();
    assert!(error.to_string().contains("write it like \"30s\""), "{error}");
    assert!(serde_json::from_str::<EventSettings>(r#"{"leese":"15s"}"#).is_err(), "unknown keys");
}
