//! What a handler may take and answer, and what the executor makes of it.

use std::sync::Arc;
use std::time::Duration;

use events_core::broker::{Admin, Broker, WorkerInfo};
use events_core::event::EventId;
use events_core::extract::States;
use events_core::lifecycle::Next;
use events_core::prelude::*;
use events_core::unchecked;
use events_runtime::{MemoryQueue, MemorySession};
use events_testing::faults::{Fault, FaultyBroker};
use events_testing::{Drained, ManualClock, drain};

use crate::world::{Seen, events_in, sqlite};

/// Commits one event on a queue in memory.
async fn publish<E: Event>(queue: &MemoryQueue, event: E) -> EventId {
    let mut session = queue.begin();
    let id = unchecked::publish_after_commit(&mut session, event).unwrap();
    session.commit().await.unwrap();
    id
}

async fn drain_with<S: events_core::extract::StateValue>(queue: &MemoryQueue, state: S) -> Drained {
    let mut states = States::new();
    states.insert(state);
    drain(queue, &states).await.unwrap()
}

mod arguments {
    use super::*;

    #[derive(Event)]
    struct Asked {
        text: String,
    }

    type Answers = Seen<String>;

    #[subscribes_to(Asked, freshness_only)]
    async fn in_any_order(
        Asked { text }: Asked,
        context: TaskContext,
        session: &mut MemorySession,
        State(answers): State<Answers>,
    ) -> Result<(), Failure> {
        assert_eq!(context.attempt(), 1);
        assert_eq!(context.queue(), "events");
        assert_eq!(
            context.task_name(),
            "events.suite.handlers.arguments.Asked.suite.handlers.arguments.in_any_order"
        );
        if text != "echo" {
            echo(session)?;
        }
        answers.push(text);
        Ok(())
    }

    #[publishes(Asked)]
    fn echo(session: &mut impl Session) -> Result<EventId, PublishError> {
        publish_after_commit(session, Asked { text: "echo".into() })
    }

    #[subscribes_to(Asked, freshness_only)]
    fn blocking_with_transaction(
        event: Asked,
        session: &mut MemorySession,
    ) -> Result<(), PublishError> {
        if event.text == "question" {
            echo(session)?;
        }
        Ok(())
    }

    #[tokio::test]
    async fn handlers_take_state_context_and_transaction_in_any_order() {
        let queue = MemoryQueue::new(&events_in(module_path!()));
        let answers = Answers::default();
        publish(&queue, Asked { text: "question".into() }).await;
        let drained = drain_with(&queue, answers.clone()).await;
        drained.assert_all_completed();
        // Both handlers publish an echo in their transaction; both echoes reach both handlers.
        assert_eq!(drained.runs.len(), 6);
        let mut all = answers.all();
        all.sort();
        assert_eq!(all, ["echo", "echo", "question"]);
    }
}

mod missing {
    use super::*;
    use events_runtime::{Executor, Worker};
    use events_sqlx::{EventTransaction, Sqlite};

    #[derive(Event)]
    struct Asked {}

    #[derive(Clone)]
    struct Mailer;

    #[subscribes_to(Asked, freshness_only)]
    async fn needs_mailer(_: Asked, _mailer: State<Mailer>) {}

    #[subscribes_to(Asked, freshness_only)]
    async fn needs_sqlite(_: Asked, _tx: &mut EventTransaction<Sqlite>) {}

    #[subscribes_to(Asked, freshness_only, queue = "other")]
    async fn needs_port(_: Asked, _port: State<u16>) {}

    #[test]
    fn missing_state_is_an_error_when_the_worker_is_built() {
        let events = events_in(module_path!());
        let queue = MemoryQueue::new(&events);
        let error = Worker::builder(&events, queue.clone()).build().unwrap_err().to_string();
        for part in [
            "suite::handlers::missing::needs_mailer",
            "tests/handlers.rs:",
            "State<suite::handlers::missing::Mailer>",
            ".state(…)",
            "needs_sqlite",
            "takes &mut events_sqlx",
            "State<u16>",
        ] {
            assert!(error.contains(part), "`{part}` is not in: {error}");
        }
        let error = Executor::new(queue, Arc::new(States::new())).unwrap_err();
        assert_eq!(error.missing().len(), 3);
    }

    #[test]
    fn only_the_handlers_of_the_workers_queues_must_be_callable() {
        let events = events_in(module_path!());
        let queue = MemoryQueue::new(&events);
        Worker::builder(&events, queue)
            .queues(Queues::only(["other"]))
            .state(80_u16)
            .build()
            .expect("the others run elsewhere");
    }

    #[test]
    fn misspelt_queue_is_an_error_when_the_worker_is_built() {
        let events = events_in(module_path!());
        let queue = MemoryQueue::new(&events);
        let error =
            Worker::builder(&events, queue).queues(Queues::only(["ohter"])).build().unwrap_err();
        assert!(error.to_string().contains("no subscriber uses the queue `ohter`"), "{error}");
    }
}

mod failures {
    use super::*;

    #[derive(Event)]
    struct Tried {
        how: String,
    }

    #[derive(Debug)]
    struct Deep;

    impl std::fmt::Display for Deep {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("cannot send mail")
        }
    }

    impl std::error::Error for Deep {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            static CAUSE: std::fmt::Error = std::fmt::Error;
            Some(&CAUSE)
        }
    }

    #[subscribes_to(
        Tried,
        freshness_only,
        max_retries = 2,
        retry_backoff = "10s..15s",
        timeout = "50ms"
    )]
    async fn answer(event: Tried) -> Result<(), Failure> {
        match event.how.as_str() {
            "error" => Err(Deep)?,
            "discard" => Err(Failure::discard("the system no longer exists")),
            "snooze" => Err(Failure::snooze(Duration::from_mins(1))),
            "panic" => panic!("at the disco"),
            "hang" => std::future::pending().await,
            _ => Ok(()),
        }
    }

    #[subscribes_to(Tried, freshness_only, max_retries = 0)]
    fn answer_blocking(event: Tried) {
        assert!(event.how != "panic", "in a blocking handler");
    }

    struct Trial {
        queue: MemoryQueue,
        clock: ManualClock,
    }

    impl Trial {
        async fn of(how: &str) -> Self {
            let clock = ManualClock::new();
            let registry = events_core::Registry::builder().subscriber::<answer>().build().unwrap();
            let events = Events::builder().registry(registry).clock(clock.clone()).build().unwrap();
            let queue = MemoryQueue::new(&events);
            publish(&queue, Tried { how: how.into() }).await;
            Self { queue, clock }
        }

        async fn next(&self) -> Next {
            let drained = drain(&self.queue, &States::new()).await.unwrap();
            assert_eq!(drained.runs.len(), 1);
            drained.runs[0].next.clone()
        }

        async fn errors(&self) -> Vec<String> {
            let dead = self.queue.dead_letters(10, None).await.unwrap();
            assert_eq!(dead.len(), 1);
            dead[0].attempts.iter().map(|attempt| attempt.error.clone()).collect()
        }
    }

    #[tokio::test]
    async fn error_is_tried_again_with_backoff_and_then_a_dead_letter() {
        let trial = Trial::of("error").await;
        for (least, most) in [(5, 10), (7, 15)] {
            let Next::Retry { after, error } = trial.next().await else { panic!("a retry") };
            assert!(after >= Duration::from_secs(least) && after <= Duration::from_secs(most));
            assert_eq!(error, "cannot send mail: an error occurred when formatting an argument");
            trial.clock.advance(after);
        }
        assert!(matches!(trial.next().await, Next::Bury { .. }));
        assert_eq!(trial.errors().await.len(), 3);
    }

    #[tokio::test]
    async fn discard_is_a_dead_letter_at_once_with_the_reason() {
        let trial = Trial::of("discard").await;
        assert!(matches!(trial.next().await, Next::Bury { .. }));
        assert_eq!(trial.errors().await, ["discarded by the handler: the system no longer exists"]);
    }

    #[tokio::test]
    async fn snooze_costs_no_attempt() {
        let trial = Trial::of("snooze").await;
        for _ in 0..10 {
            assert_eq!(trial.next().await, Next::Release { after: Duration::from_mins(1) });
            trial.clock.advance(Duration::from_mins(1));
        }
    }

    #[tokio::test]
    async fn panic_is_caught_and_counts_as_a_failure() {
        let trial = Trial::of("panic").await;
        let Next::Retry { error, .. } = trial.next().await else { panic!("a retry") };
        assert_eq!(error, "panicked: at the disco");
    }

    #[tokio::test]
    async fn panic_in_a_blocking_handler_is_caught() {
        let registry =
            events_core::Registry::builder().subscriber::<answer_blocking>().build().unwrap();
        let events = Events::builder().registry(registry).build().unwrap();
        let queue = MemoryQueue::new(&events);
        publish(&queue, Tried { how: "panic".into() }).await;
        assert_eq!(drain(&queue, &States::new()).await.unwrap().dead(), 1);
        let dead = queue.dead_letters(1, None).await.unwrap();
        assert_eq!(dead[0].attempts[0].error, "panicked: in a blocking handler");
    }

    #[tokio::test]
    async fn handler_that_never_returns_is_timed_out() {
        let trial = Trial::of("hang").await;
        let Next::Retry { error, .. } = trial.next().await else { panic!("a retry") };
        assert_eq!(error, "timed out after 50ms");
    }

    #[tokio::test]
    async fn payload_that_does_not_decode_is_a_dead_letter_at_once() {
        /// What another release publishes under the same name.
        #[derive(Event)]
        #[event(name = "suite.handlers.failures.Tried")]
        struct OtherTried {
            how: u32,
        }
        let trial = Trial::of("ok").await;
        assert_eq!(trial.next().await, Next::Complete);
        publish(&trial.queue, OtherTried { how: 3 }).await;
        assert!(matches!(trial.next().await, Next::Bury { .. }));
        assert_eq!(
            trial.errors().await,
            ["the payload cannot be decoded: field `how`: expected a string, found the number 3"]
        );
    }
}

mod boxed_errors {
    use super::*;
    use events_core::BoxError;

    #[derive(Event)]
    struct Asked {}

    /// A repository, as applications write them.
    fn look_up() -> Result<(), BoxError> {
        Err("the repository is closed".into())
    }

    #[subscribes_to(Asked, freshness_only)]
    async fn boxed(_: Asked) -> Result<(), BoxError> {
        look_up()?;
        Ok(())
    }

    #[subscribes_to(Asked, freshness_only)]
    fn of_one_type(_: Asked) -> Result<(), std::num::ParseIntError> {
        "x".parse::<u8>().map(drop)
    }

    #[tokio::test]
    async fn any_error_of_a_handler_means_try_again() {
        let queue = MemoryQueue::new(&events_in(module_path!()));
        publish(&queue, Asked {}).await;
        let drained = drain(&queue, &States::new()).await.unwrap();
        let mut errors: Vec<_> = drained
            .runs
            .iter()
            .map(|run| match &run.next {
                Next::Retry { error, .. } => error.as_str(),
                other => panic!("{other:?}"),
            })
            .collect();
        errors.sort_unstable();
        assert_eq!(errors, ["invalid digit found in string", "the repository is closed"]);
    }
}

mod current_event {
    use super::*;

    #[derive(Event)]
    struct Looked {}

    type Ids = Seen<(EventId, Option<EventId>)>;

    #[subscribes_to(Looked, freshness_only)]
    async fn across_awaits(_: Looked, context: TaskContext, State(ids): State<Ids>) {
        for _ in 0..3 {
            ids.push((context.event_id(), current_event_id()));
            tokio::task::yield_now().await;
        }
    }

    #[subscribes_to(Looked, freshness_only)]
    fn blocking(_: Looked, context: TaskContext, State(ids): State<Ids>) {
        ids.push((context.event_id(), current_event_id()));
    }

    #[subscribes_to(Looked, freshness_only, max_retries = 0)]
    async fn panics(_: Looked) {
        panic!("with the event id set");
    }

    #[tokio::test]
    async fn current_event_id_holds_across_awaits_and_does_not_leak() {
        let events = events_in(module_path!());
        let queue = MemoryQueue::new(&events);
        let ids = Ids::default();
        publish(&queue, Looked {}).await;
        publish(&queue, Looked {}).await;
        // Two workers' futures interleave on this one thread.
        let mut states = States::new();
        states.insert(ids.clone());
        let (first, second) = tokio::join!(drain(&queue, &states), drain(&queue, &states));
        assert_eq!(first.unwrap().dead() + second.unwrap().dead(), 2);
        let seen = ids.all();
        assert_eq!(seen.len(), 8);
        assert!(seen.iter().all(|(wanted, current)| Some(*wanted) == *current), "{seen:?}");
        assert_eq!(current_event_id(), None);
    }
}

mod redelivery {
    use super::*;
    use events_sqlx::{EventTransaction, Sqlite};

    #[derive(Event)]
    struct Paid {
        amount: i64,
    }

    #[subscribes_to(Paid, freshness_only)]
    async fn book(event: Paid, tx: &mut EventTransaction<Sqlite>) -> Result<(), Failure> {
        sqlx::query("INSERT INTO booked VALUES (?)")
            .bind(event.amount)
            .execute(tx.connection())
            .await?;
        Ok(())
    }

    #[subscribes_to(Paid, freshness_only)]
    async fn notify(event: Paid, State(seen): State<Seen<i64>>) {
        seen.push(event.amount);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn redelivery_runs_a_transactional_handler_once_and_another_twice() {
        let events = events_in(module_path!());
        let (queue, _folder) = sqlite(&events).await;
        sqlx::query("CREATE TABLE booked (amount INTEGER)").execute(queue.pool()).await.unwrap();
        let mut session = queue.begin().await.unwrap();
        unchecked::publish_after_commit(&mut session, Paid { amount: 5 }).unwrap();
        session.commit().await.unwrap();
        let faulty = FaultyBroker::new(queue.clone());
        faulty.faults().inject(Fault::DeliverTwice);
        let seen = Seen::<i64>::default();
        let mut states = States::new();
        states.insert(seen.clone());
        drain(&faulty, &states).await.unwrap();
        assert!(faulty.faults().are_over());
        assert_eq!(seen.all(), [5, 5], "at least once");
        let booked: Vec<i64> =
            sqlx::query_scalar("SELECT amount FROM booked").fetch_all(queue.pool()).await.unwrap();
        assert_eq!(booked, [5], "exactly once");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn failing_transactional_handler_leaves_no_effect() {
        let events = events_in(module_path!());
        let (queue, _folder) = sqlite(&events).await;
        // There is no table `booked`, so the handler fails after the task was removed.
        let mut session = queue.begin().await.unwrap();
        unchecked::publish_after_commit(&mut session, Paid { amount: 5 }).unwrap();
        session.commit().await.unwrap();
        let mut states = States::new();
        states.insert(Seen::<i64>::default());
        let drained = drain(&queue, &states).await.unwrap();
        assert_eq!((drained.completed(), drained.retried()), (1, 1));
        let counts = queue.counts().await.unwrap();
        assert_eq!((counts.scheduled, counts.running), (1, 0), "the task waits for its retry");
    }

    #[tokio::test]
    async fn claim_that_fails_loses_nothing() {
        let events = events_in("suite::handlers::current_event");
        let queue = FaultyBroker::new(MemoryQueue::new(&events));
        queue.faults().inject(Fault::FailClaim);
        let worker = events_core::WorkerId::generate();
        queue.register(worker, &WorkerInfo::new(Queues::all(), 1)).await.unwrap();
        queue.claim(worker, &Queues::all(), 1).await.unwrap_err();
        queue.claim(worker, &Queues::all(), 1).await.unwrap();
    }
}

mod trace_context {
    use super::*;

    #[derive(Event)]
    struct Traced {
        hops: u32,
    }

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[subscribes_to(Traced, freshness_only)]
    async fn follow(
        event: Traced,
        context: TaskContext,
        session: &mut MemorySession,
        State(seen): State<Seen<Option<String>>>,
    ) -> Result<(), Failure> {
        seen.push(context.header("traceparent").map(str::to_owned));
        if event.hops > 0 {
            hop(session, event.hops - 1)?;
        }
        Ok(())
    }

    #[publishes(Traced)]
    fn hop(session: &mut MemorySession, hops: u32) -> Result<EventId, PublishError> {
        publish_after_commit(session, Traced { hops })
    }

    #[tokio::test]
    async fn traceparent_travels_with_the_event_and_with_what_its_handlers_publish() {
        let registry = events_core::Registry::builder().linked_in(module_path!()).build().unwrap();
        let first = std::sync::atomic::AtomicBool::new(true);
        let events = Events::builder()
            .registry(registry)
            // Only the outermost publish is inside a trace of the application's.
            .trace_context(move || {
                first.swap(false, std::sync::atomic::Ordering::SeqCst).then(|| TRACE.to_owned())
            })
            .build()
            .unwrap();
        let queue = MemoryQueue::new(&events);
        let mut session = queue.begin();
        hop(&mut session, 2).unwrap();
        session.commit().await.unwrap();
        let seen = Seen::<Option<String>>::default();
        drain_with(&queue, seen.clone()).await.assert_all_completed();
        assert_eq!(seen.all(), vec![Some(TRACE.to_owned()); 3]);
    }
}
