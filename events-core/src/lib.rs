//! Typed events, published in the transaction that caused them.
//!
//! A program changes state in a database transaction, and other work must follow. It says so by
//! publishing a typed event in that transaction. If the transaction rolls back, the event never
//! existed; if it commits, every subscriber of the event's type gets its own task.
//!
//! | step      | you write                                | module                        |
//! |-----------|------------------------------------------|-------------------------------|
//! | declare   | [`#[derive(Event)]`](derive@Event)       | [`event`], [`payload`]        |
//! | publish   | [`#[publishes]`](macro@publishes), [`publish_after_commit`](prelude::publish_after_commit) | [`session`], [`publisher`] |
//! | react     | [`#[subscribes_to]`](macro@subscribes_to), [`foreign_subscriber!`] | [`subscriber`], [`extract`], [`context`] |
//! | repair    | [`#[reconciles]`](macro@reconciles)      | [`reconciler`]                |
//! | start     | [`Events::builder`]                      | [`events`], [`registry`], [`settings`] |
//! | prove     | `events_testing::coverage`               | [`coverage`], [`catalog`]     |
//!
//! Behind it, tasks travel: [`dispatch`] makes them of events, a [`transport`] accepts them, a
//! [`broker`] hands them to workers, and [`lifecycle`] decides where each goes after an attempt.
//!
//! This crate is the words: it knows no async runtime, no database and no broker. A domain crate
//! depends on it alone.

#[cfg(test)] // generated code says `::events_core`, in this crate's tests too
#[allow(unused_extern_crates)]
extern crate self as events_core;

pub mod broker;
pub mod cadence;
pub mod catalog;
pub mod clock;
pub mod context;
pub mod coverage;
pub mod dispatch;
pub mod event;
pub mod events;
pub mod extract;
pub mod forwarding;
pub mod health;
pub mod lifecycle;
pub mod outbox;
pub mod payload;
pub mod prelude;
pub mod publisher;
pub mod reconciler;
pub mod registry;
pub mod session;
pub mod settings;
pub mod sightings;
pub mod subscriber;
pub mod task;
pub mod transport;
pub mod unchecked;

mod decoy;
mod queues;

#[doc(hidden)] // Not public API. Used by generated code.
#[allow(missing_docs)]
pub mod __private;

#[doc(inline)]
pub use self::{
    broker::{Admin, Broker, BrokerError, Queues},
    cadence::ReconcilerRuns,
    clock::{Clock, SystemClock, Timestamp},
    context::{TaskContext, current_event_id},
    event::{Event, EventId, TaskId, WorkerId},
    events::{Events, StartError},
    extract::State,
    forwarding::Forwarding,
    outbox::Outbox,
    payload::EventField,
    reconciler::{ReconcilerContext, Report, Scope},
    registry::{Registry, RegistryError},
    session::{PublishError, Session},
    settings::EventSettings,
    subscriber::Failure,
    task::Task,
    transport::Transport,
};

/// Any error, boxed.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Makes a struct an [`Event`](trait@Event): gives it a name and its JSON form. Nothing else is
/// needed, neither serde's derives nor any registration.
///
/// ```
/// use events_core::prelude::*;
///
/// /// A system gained or lost a data steward.
/// #[derive(Event, Debug, PartialEq)]
/// pub struct SystemDataStewardsChanged {
///     pub system_id: String,
///     pub user_id: String,
///     pub note: Option<String>, // may be absent or null
/// }
///
/// let event = SystemDataStewardsChanged {
///     system_id: "crm".into(),
///     user_id: "ada".into(),
///     note: None,
/// };
/// let json = events_core::event::encode(&event)?;
/// assert_eq!(&*json, r#"{"system_id":"crm","user_id":"ada","note":null}"#);
///
/// let newer = r#"{"system_id":"crm","user_id":"ada","added_later":1}"#; // ignored
/// assert_eq!(events_core::event::decode::<SystemDataStewardsChanged>(newer)?, event);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What may stand in an event
///
/// A struct with named fields (none, as in `struct Emptied {}`, is fine), without generics and
/// lifetimes. Its fields may be `bool`, integers up to 64 bits, `f32`, `f64`, `String`, `Option<T>`
/// (but no `Option` of an `Option`), `Vec<T>`, arrays, tuples, `BTreeSet<T>`, `HashSet<T>`,
/// `BTreeMap<String, T>`, `HashMap<String, T>`, `Box<T>`, and other structs that derive `Event`.
///
/// Everything else would not survive JSON, or could change after the publish, and does not
/// compile. The message names the field and what to write instead. It is the types that are
/// checked, so an alias or a renamed import does not get around it:
///
/// ```compile_fail,E0277
/// # mod uuid { pub struct Uuid; }
/// use events_core::Event;
/// use uuid::Uuid as Identifier;
///
/// #[derive(Event)]
/// struct SystemChanged {
///     id: Identifier, // event field `SystemChanged.id` has type `Uuid`, …: use `String`
/// }
/// ```
///
/// # On the struct: `#[event(…)]`
///
/// | key | meaning | default |
/// |-----|---------|---------|
/// | `name = "shop.order_placed"` | the name on the wire: ASCII identifiers joined by dots | the type's path with dots, `crate.module.Type` |
/// | `crate = path` | where events-core is | `::events_core` |
///
/// Pin the name before you move or rename a type whose tasks may be waiting. A type declared inside
/// a function has only the module in its path: pin a name if there are two.
///
/// # On a field: `#[event(…)]`
///
/// | key | meaning | default |
/// |-----|---------|---------|
/// | `default` | a missing field is `Default::default()` | a missing field is an error, of an `Option` it is `None` |
/// | `rename = "id"` | the key in the JSON object | the field's name |
/// | `alias = "identifier"` | a further key that is read; may be repeated | none |
///
/// ```
/// use events_core::prelude::*;
///
/// #[derive(Event)]
/// #[event(name = "shop.order_placed")]
/// struct OrderPlaced {
///     #[event(rename = "orderId", alias = "order")]
///     order_id: u64,
///     #[event(default)]
///     lines: Vec<String>,
/// }
///
/// assert_eq!(OrderPlaced::NAME, "shop.order_placed");
/// let old: OrderPlaced = events_core::event::decode(r#"{"order":7}"#)?;
/// assert_eq!((old.order_id, old.lines.len()), (7, 0));
/// # Ok::<(), events_core::event::DecodeError>(())
/// ```
///
/// # Beside serde
///
/// A type may derive serde's traits for other uses. Attributes of serde under which its JSON would
/// differ from the event's are refused (`rename`, `flatten`, `skip`, `with` and the like), because
/// two JSON forms of one type are a trap; `#[serde(rename = "id")]` is accepted beside
/// `#[event(rename = "id")]`.
///
/// # Limits
///
/// A crate with `#![no_implicit_prelude]` can use neither it nor `#[publishes]`, and one with
/// `#![forbid(non_upper_case_globals)]` cannot use the attributes below (`deny` is fine).
pub use events_macros::Event;

/// Registers a function as a subscriber of an event: for every published event of the type, once
/// its session has committed, the function runs as a task of its own.
///
/// The function stays as it is and may be called. Being linked is all that registers it; see
/// [`link_subscribers!`] for handlers in other crates.
///
/// ```
/// use events_core::prelude::*;
///
/// #[derive(Event)]
/// struct OrderPlaced { order_id: u64 }
///
/// #[derive(Clone)]
/// struct Mailer;
///
/// #[subscribes_to(OrderPlaced, queue = "mail", max_retries = 8, timeout = "30s", freshness_only)]
/// async fn confirm(event: OrderPlaced, State(mailer): State<Mailer>) -> Result<(), Failure> {
///     # let _ = mailer;
///     let address = look_up(event.order_id)?; // an error means: try again later
///     if address.is_empty() {
///         return Err(Failure::discard("the customer has no address"));
///     }
///     Ok(())
/// }
/// # fn look_up(_: u64) -> Result<String, std::io::Error> { Ok(String::new()) }
///
/// let registry = events_core::Registry::builder().subscriber::<confirm>().build()?;
/// let task = registry.subscribers_of(OrderPlaced::NAME)[0].task;
/// assert!(task.starts_with("events.") && task.ends_with(".confirm"));
/// # Ok::<(), events_core::RegistryError>(())
/// ```
///
/// # The function
///
/// A free function, `async` or not; one that is not runs on the blocking pool. It takes
///
/// 1. the event, by value: each subscriber gets its own;
/// 2. then, in any order and as often as wanted, [`State<T>`](State) for what was given to the
///    worker, [`TaskContext`], and at most one `&mut EventTransaction<Db>`: the transaction in which
///    the task is completed, so that the handler's writes happen exactly once.
///
/// It returns `()`, or `Result<(), E>` where `E` is [`Failure`] or any error, also a boxed one, and is
/// not generic. Where types are named, the function's name is a hidden type, which is how
/// `subscriber::<confirm>()` and `reconciled_by` name it; so no other type or module beside it may
/// have that name.
///
/// # Keys
///
/// | key | meaning | default |
/// |-----|---------|---------|
/// | `queue = "mail"` | the queue: 1 to 64 letters, digits, `-`, `_`, `.` | the setting `default_queue` |
/// | `max_retries = 8` | tries after the first, up to 1000; then it is a dead letter | the setting `max_retries` |
/// | `retry_backoff = "1s"`, `"1s..1h"` | the pause before the first retry, which doubles, and the longest | the settings `retry_backoff`, `max_retry_backoff` |
/// | `timeout = "30s"` | how long an attempt may take | the setting `timeout` |
/// | `priority = 0` | smaller runs first | 0 |
/// | `delay = "5m"` | how long after the commit the task is due | at once |
/// | `debounce = "30s"`, `debounce_by = field` | one waiting task per value of the event's field, with the newest event, due when there was none for that long | every event is handled |
/// | `debounce_max = "5m"` | a field that is never quiet is handled after this time | ten times `debounce` |
/// | `reconciled_by = path` | the function marked [`#[reconciles]`](macro@reconciles) that repairs what this one misses | nobody; coverage reports it |
/// | `freshness_only` | losing an event is harmless: nothing needs repair | it is not |
/// | `name = "events.shop.confirm"` | pins the task name | `events.<event's name>.<function's path with dots>` |
/// | `alias = "events.old.name"` | a further task name that it answers to; may be repeated | none |
/// | `crate = path` | where events-core is | `::events_core` |
///
/// Durations are texts such as `"250ms"`, `"30s"` or `"1h 30m"`. Before you rename or move a
/// function, pin its `name` or give its old name as `alias`: tasks that wait carry it.
///
/// What cannot work does not compile, and the message says what to write:
///
/// ```compile_fail,E0277
/// # use events_core::prelude::*;
/// # #[derive(Event)] struct OrderPlaced { order_id: u64 }
/// # #[derive(Event)] struct OrderPaid { order_id: u64 }
/// // this subscriber is registered for `OrderPlaced` but its first argument is `OrderPaid`
/// #[subscribes_to(OrderPlaced)]
/// async fn confirm(event: OrderPaid) {}
/// ```
pub use events_macros::subscribes_to;

/// Declares a subscriber whose handler is in another program, such as a Celery worker in Python: each
/// published event makes a task for it, of exactly this name, on this queue.
///
/// ```standalone_crate
/// use events_core::prelude::*;
///
/// #[derive(Event)]
/// struct OrderPlaced { order_id: u64 }
///
/// foreign_subscriber! {
///     event = OrderPlaced,
///     task = "shop.tasks.send_confirmation",
///     queue = "mail",
///     freshness_only,
/// }
///
/// # fn main() -> Result<(), events_core::RegistryError> {
/// let registry = events_core::Registry::linked()?;
/// let [subscriber] = registry.subscribers_of(OrderPlaced::NAME) else { panic!("one subscriber") };
/// assert!(subscriber.is_foreign());
/// assert_eq!((subscriber.task, subscriber.queue), ("shop.tasks.send_confirmation", Some("mail")));
/// # Ok(()) }
/// ```
///
/// It stands where functions stand, as often as wanted. Fan-out, [`coverage`], the [`catalog`] and the
/// checks at start know it like any other subscriber. Workers of this program do not serve a queue that
/// only foreign subscribers have; a task that they meet elsewhere is of unknown name to them, and is put
/// back. So give the other program queues of its own.
///
/// # Keys
///
/// | key | meaning | default |
/// |-----|---------|---------|
/// | `event = OrderPlaced` | the event | required |
/// | `task = "shop.tasks.send_confirmation"` | the name under which the other program registers the task: 1 to 255 characters | required |
/// | `queue = "mail"` | the queue that the other program serves | required |
/// | `priority`, `delay`, `reconciled_by`, `freshness_only`, `crate` | as in [`#[subscribes_to]`](macro@subscribes_to#keys) | as there |
///
/// Retries and time limits are the other program's, which is where they are said.
pub use events_macros::foreign_subscriber;

/// Declares which events a function publishes, and gives it `publish_after_commit` for them.
///
/// It goes on functions and methods of every kind: generic, async, in traits and their
/// implementations, above or below `#[async_trait]` and `#[instrument]`. What the function does is
/// not changed.
///
/// ```
/// use events_core::prelude::*;
///
/// #[derive(Event)]
/// struct StewardAdded { system_id: String, user_id: String }
///
/// struct Stewards;
///
/// impl Stewards {
///     #[publishes(StewardAdded)]
///     async fn add(&self, session: &mut impl Session, user: &str) -> Result<EventId, PublishError> {
///         // … change the state through the session …
///         publish_after_commit(session, StewardAdded { system_id: "crm".into(), user_id: user.into() })
///     }
/// }
/// ```
///
/// [`publish_after_commit`](prelude::publish_after_commit) exists only inside marked functions and
/// takes only the events that are declared. So the list of who publishes what, in the
/// [`catalog`] and for [`coverage`], is complete and proven by the compiler. A declared event that
/// the body never mentions is recorded, for coverage to report.
///
/// ```compile_fail,E0277
/// # use events_core::prelude::*;
/// # #[derive(Event)] struct StewardAdded {}
/// # #[derive(Event)] struct StewardRemoved {}
/// #[publishes(StewardAdded)]
/// fn remove(session: &mut impl Session) -> Result<EventId, PublishError> {
///     publish_after_commit(session, StewardRemoved {}) // `remove` publishes `StewardRemoved` without declaring it
/// }
/// ```
///
/// Code that does not know its events, such as a relay, uses
/// [`unchecked::publish_after_commit`].
///
/// # Arguments
///
/// | argument | meaning |
/// |----------|---------|
/// | `TheEvent, other::Event` | the events, one or more, by their paths (`Self` is not known there) |
/// | `crate = path` | where events-core is; default `::events_core` |
pub use events_macros::publishes;

/// Registers a function as a reconciler: it reaches the right end state even if every event was
/// lost, and says what it had to repair.
///
/// ```
/// use events_core::prelude::*;
///
/// #[derive(Event)]
/// struct OrderPlaced { order_id: u64 }
///
/// #[derive(Clone)]
/// struct Orders;
///
/// #[reconciles]
/// async fn confirm_the_forgotten(scope: Scope, orders: State<Orders>) -> Result<Report, Failure> {
///     let mut report = Report::default();
///     for order in orders.unconfirmed() {
///         if scope.contains(&order) {
///             report.checked += 1;
///         }
///     }
///     Ok(report)
/// }
/// # impl Orders { fn unconfirmed(&self) -> Vec<String> { Vec::new() } }
///
/// #[subscribes_to(OrderPlaced, reconciled_by = confirm_the_forgotten)]
/// async fn confirm(event: OrderPlaced) {}
/// ```
///
/// The function is free and `async`. It takes the [`Scope`] to look at, then [`State<T>`](State) as
/// often as wanted and [`ReconcilerContext`], and returns `Result<Report, E>` where `E` is [`Failure`] or
/// any error. Workers run it at its cadence, and [`Events::reconcile`] on demand.
///
/// # Keys
///
/// | key | meaning | default |
/// |-----|---------|---------|
/// | `every = "15m"` | how often it runs, once per cluster | on demand only |
/// | `cron = "0 3 * * *"`, `time_zone = "Europe/Berlin"` | instead: when it runs, on the clocks of this zone | on demand only |
/// | `jitter = "30s"` | each run comes up to this much later, at random | none |
/// | `run_on_start` | a worker that starts runs it at once, unless a run began within the last minute | it waits for its time |
/// | `deadline = "5m"` | a run that takes longer is stopped | `every`; with `cron` an hour |
/// | `name = "sweeps.orders"` | its name: ASCII identifiers joined by dots | the function's path with dots |
/// | `crate = path` | where events-core is | `::events_core` |
///
/// # Cron expressions
///
/// ```
/// use events_core::cadence::Schedule;
/// use events_core::{Registry, prelude::*};
///
/// /// Every night at three, whether it is summer or winter in Berlin.
/// #[reconciles(cron = "0 3 * * *", time_zone = "Europe/Berlin", jitter = "5m", deadline = "2h")]
/// async fn sweep_orders(_scope: Scope) -> Result<Report, Failure> {
///     Ok(Report::default())
/// }
///
/// let registry = Registry::builder().reconciler::<sweep_orders>().build()?;
/// let cadence = registry.reconcilers()[0].cadence.as_ref().expect("it is declared");
/// assert!(matches!(&cadence.schedule, Schedule::Cron { expression, .. } if expression == "0 3 * * *"));
/// # Ok::<(), events_core::RegistryError>(())
/// ```
///
/// Five fields: minute, hour, day of month, month, day of week; with six, seconds come first. `*`,
/// numbers, ranges, lists and steps (`*/15`, `8-18/2`), `JAN` to `DEC`, `SUN` to `SAT`; for the last
/// day of a month `L`, for the second Monday `MON#2`; and `@hourly`, `@daily` and the like. If both
/// a day of month and a day of week are given, either suffices.
///
/// The zone is always named, also `"UTC"`. When its clocks are put forward, an expression with one
/// time of day that does not exist runs at the first moment after the gap; when they are put back,
/// it runs once, at the first of the two. One with several times of a day (`*/15`, `2,14`) runs at
/// all that exist: not in the gap, and twice in the repeated hour.
pub use events_macros::reconciles;

/// Names the crates (or modules) whose subscribers and publishers this program must contain.
///
/// A crate that is only listed in `Cargo.toml` and never named in the source is not linked, and
/// its handlers silently vanish. This links each crate named and makes it an error at start if
/// nothing was registered under that path. Write it once, in `main.rs` or the test's root.
///
/// Write crates by their own names, not by names given to them in `Cargo.toml`.
///
/// ```standalone_crate
/// # mod stewardship {} mod billing { pub mod invoices {} }
/// events_core::link_subscribers!(stewardship, billing::invoices);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! link_subscribers {
    ($($first:ident $(:: $rest:ident)*),+ $(,)?) => {$(
        const _: () = {
            #[allow(unused_imports)]
            use $first $(:: $rest)* as _;
            $crate::__private::inventory::submit! {
                $crate::__private::Registration::Expectation(
                    &$crate::__private::LinkExpectation {
                        path: concat!(stringify!($first) $(, "::", stringify!($rest))*),
                        file: file!(),
                        line: line!(),
                    },
                )
            }
        };
    )+};
}
