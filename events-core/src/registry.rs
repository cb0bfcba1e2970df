//! What is registered, and the checks that keep wrong wiring from starting.

mod check;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::OnceLock;

pub use check::{Problem, RegistryError};

use crate::__private::{LinkExpectation, Registration};
use crate::publisher::Publisher;
use crate::reconciler::{Reconciler, ReconcilerFunction};
use crate::subscriber::{Subscriber, SubscriberFunction};

/// Everything that is registered, with look-up by event and by task name in constant time.
#[derive(Default)]
pub struct Registry {
    subscribers: Vec<&'static Subscriber>,
    publishers: Vec<&'static Publisher>,
    reconcilers: Vec<&'static Reconciler>,
    expectations: Vec<&'static LinkExpectation>,
    by_event: HashMap<&'static str, Vec<&'static Subscriber>>,
    by_task: HashMap<&'static str, &'static Subscriber>,
}

impl Registry {
    /// What is linked into this program, checked once.
    ///
    /// A crate that is listed in `Cargo.toml` but never named in the source is not linked, and its
    /// registrations are not there; name it in
    /// [`link_subscribers!`](crate::link_subscribers).
    ///
    /// # Errors
    /// Wrong wiring; the text lists every mistake and its remedy.
    pub fn linked() -> Result<&'static Self, RegistryError> {
        static LINKED: OnceLock<Result<Registry, RegistryError>> = OnceLock::new();
        LINKED
            .get_or_init(|| {
                let mut builder = Self::builder();
                for registration in inventory::iter::<Registration> {
                    builder = builder.registration(registration);
                }
                builder.build()
            })
            .as_ref()
            .map_err(Clone::clone)
    }

    /// An empty registry, to register explicitly.
    ///
    /// ```
    /// # use events_core::{Registry, prelude::*};
    /// #[derive(Event)]
    /// struct Pinged { count: u32 }
    ///
    /// #[subscribes_to(Pinged, freshness_only)]
    /// fn count_ping(_event: Pinged) {}
    ///
    /// let registry = Registry::builder().subscriber::<count_ping>().build()?;
    /// assert_eq!(registry.subscribers_of(Pinged::NAME).len(), 1);
    /// # Ok::<(), events_core::RegistryError>(())
    /// ```
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder { registry: Self::default() }
    }

    /// All subscribers, the foreign ones too, sorted by task name.
    #[must_use]
    pub fn subscribers(&self) -> &[&'static Subscriber] {
        &self.subscribers
    }

    /// The subscribers whose handlers are in this program: what its workers can run.
    pub fn local_subscribers(&self) -> impl Iterator<Item = &'static Subscriber> {
        self.subscribers.iter().copied().filter(|subscriber| !subscriber.is_foreign())
    }

    /// The subscribers whose handlers are in other programs, declared with
    /// [`foreign_subscriber!`](crate::foreign_subscriber!).
    pub fn foreign_subscribers(&self) -> impl Iterator<Item = &'static Subscriber> {
        self.subscribers.iter().copied().filter(|subscriber| subscriber.is_foreign())
    }

    /// All publishers, sorted by module and function.
    #[must_use]
    pub fn publishers(&self) -> &[&'static Publisher] {
        &self.publishers
    }

    /// All reconcilers, sorted by name.
    #[must_use]
    pub fn reconcilers(&self) -> &[&'static Reconciler] {
        &self.reconcilers
    }

    /// The subscribers of the event of this name, sorted by task name.
    #[must_use]
    pub fn subscribers_of(&self, event: &str) -> &[&'static Subscriber] {
        self.by_event.get(event).map_or(&[], Vec::as_slice)
    }

    /// The subscriber that runs the tasks of this name, or alias. Those of foreign subscribers nobody
    /// runs here.
    #[must_use]
    pub fn subscriber(&self, task: &str) -> Option<&'static Subscriber> {
        self.by_task.get(task).copied().filter(|subscriber| !subscriber.is_foreign())
    }

    /// The foreign subscriber of the tasks of this name.
    #[must_use]
    pub fn foreign_subscriber(&self, task: &str) -> Option<&'static Subscriber> {
        self.by_task.get(task).copied().filter(|subscriber| subscriber.is_foreign())
    }

    /// The reconciler of this name: its dotted path, or its last segment if that is unambiguous.
    #[must_use]
    pub fn reconciler(&self, name: &str) -> Option<&'static Reconciler> {
        let exact = self.reconcilers.iter().find(|reconciler| reconciler.name == name);
        exact.copied().or_else(|| {
            let mut short = self
                .reconcilers
                .iter()
                .filter(|reconciler| reconciler.name.rsplit('.').next() == Some(name));
            match (short.next(), short.next()) {
                (Some(only), None) => Some(*only),
                _ => None,
            }
        })
    }

    /// The crates that have registered anything.
    #[must_use]
    pub fn crates(&self) -> BTreeSet<&'static str> {
        self.modules().map(crate_of).collect()
    }

    /// Where each registration was made.
    fn modules(&self) -> impl Iterator<Item = &'static str> {
        let subscribers = self.subscribers.iter().map(|subscriber| subscriber.function);
        let reconcilers = self.reconcilers.iter().map(|reconciler| reconciler.function);
        let publishers = self.publishers.iter().map(|publisher| publisher.module);
        subscribers.chain(reconcilers).chain(publishers)
    }
}

/// Whether the Rust path `inner` is `outer` or lies below it.
fn is_within(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn crate_of(path: &'static str) -> &'static str {
    path.split("::").next().unwrap_or(path)
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("subscribers", &self.subscribers)
            .field("publishers", &self.publishers)
            .field("reconcilers", &self.reconcilers)
            .finish_non_exhaustive()
    }
}

/// Builds a [`Registry`].
#[must_use]
#[derive(Debug, Default)]
pub struct RegistryBuilder {
    registry: Registry,
}

impl RegistryBuilder {
    /// Adds a function marked `#[subscribes_to]`.
    pub fn subscriber<F: SubscriberFunction>(mut self) -> Self {
        self.registry.subscribers.push(F::SUBSCRIBER);
        self
    }

    /// Adds a subscriber that was built by hand, as generators and plugins do.
    pub fn subscriber_ref(mut self, subscriber: &'static Subscriber) -> Self {
        self.registry.subscribers.push(subscriber);
        self
    }

    /// Adds a function marked `#[reconciles]`.
    pub fn reconciler<F: ReconcilerFunction>(mut self) -> Self {
        self.registry.reconcilers.push(F::RECONCILER);
        self
    }

    /// Adds everything linked that is declared in the module `path` or below it, such as
    /// `module_path!()`: a part of the program as if it were the whole.
    pub fn linked_in(mut self, path: &str) -> Self {
        for registration in inventory::iter::<Registration> {
            let declared_in = match registration {
                Registration::Subscriber(subscriber) => subscriber.function,
                Registration::Publisher(publisher) => publisher.module,
                Registration::Reconciler(reconciler) => reconciler.function,
                Registration::Expectation(_) => continue,
            };
            if is_within(declared_in, path) {
                self = self.registration(registration);
            }
        }
        self
    }

    fn registration(mut self, registration: &'static Registration) -> Self {
        match registration {
            Registration::Subscriber(subscriber) => self.registry.subscribers.push(subscriber),
            Registration::Publisher(publisher) => self.registry.publishers.push(publisher),
            Registration::Reconciler(reconciler) => self.registry.reconcilers.push(reconciler),
            Registration::Expectation(expected) => self.registry.expectations.push(expected),
        }
        self
    }

    /// Sorts and checks what was added.
    ///
    /// # Errors
    /// Wrong wiring; the text lists every mistake and its remedy.
    pub fn build(self) -> Result<Registry, RegistryError> {
        let mut registry = self.registry;
        // The order in which the linker lays out registrations is arbitrary.
        registry.subscribers.sort_by_key(|subscriber| (subscriber.task, subscriber.function));
        registry.publishers.sort_by_key(|publisher| {
            (publisher.module, publisher.function, publisher.file, publisher.line)
        });
        registry.reconcilers.sort_by_key(|reconciler| reconciler.name);
        for subscriber in &registry.subscribers {
            registry.by_event.entry(subscriber.event.name).or_default().push(subscriber);
            for task in std::iter::once(&subscriber.task).chain(subscriber.aliases) {
                registry.by_task.insert(task, subscriber);
            }
        }
        let problems = check::problems(&registry);
        if problems.is_empty() { Ok(registry) } else { Err(RegistryError::new(problems)) }
    }
}

/// Groups values by key, keeping groups with more than one. Of ten thousand entries hardly any
/// collide, so they are sorted rather than gathered in a map of lists.
fn collisions<K: Ord + Copy, V>(entries: impl Iterator<Item = (K, V)>) -> BTreeMap<K, Vec<V>> {
    let mut entries: Vec<_> = entries.collect();
    entries.sort_by_key(|(key, _)| *key);
    let mut groups: BTreeMap<K, Vec<V>> = BTreeMap::new();
    let mut entries = entries.into_iter().peekable();
    while let Some((key, value)) = entries.next() {
        let collides = entries.peek().is_some_and(|(next, _)| *next == key);
        if collides || groups.contains_key(&key) {
            groups.entry(key).or_default().push(value);
        }
    }
    groups
}
