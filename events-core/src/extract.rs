//! What may stand after the event in a subscriber's arguments.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::context::TaskContext;
use crate::subscriber::{InvokeError, Need, NeedKind};

/// One call of a handler: the payload, and what the arguments are taken from.
pub struct Invocation<'a> {
    /// The event as JSON.
    pub payload: &'a str,
    /// The task being executed.
    pub context: &'a TaskContext,
    /// The application's state.
    pub states: &'a States,
    /// The transaction in which the task completes, if the subscriber takes it.
    pub transaction: Option<&'a mut (dyn Any + Send)>,
}

impl fmt::Debug for Invocation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invocation").field("context", &self.context).finish_non_exhaustive()
    }
}

/// A type that may stand after the event in a subscriber's arguments.
#[diagnostic::on_unimplemented(
    message = "a subscriber's argument of type `{Self}` can't be supplied",
    label = "not one of the types that may follow the event",
    note = "after the event may stand, in any order: `State<T>`, `TaskContext`, `&mut EventTransaction<Db>`"
)]
pub trait Extract<'a>: Sized {
    /// What the worker must have for it.
    #[doc(hidden)]
    const NEED: Option<Need>;

    #[doc(hidden)]
    fn extract(invocation: &mut Invocation<'a>) -> Result<Self, InvokeError>;
}

impl Extract<'_> for TaskContext {
    const NEED: Option<Need> = None;

    fn extract(invocation: &mut Invocation<'_>) -> Result<Self, InvokeError> {
        Ok(invocation.context.clone())
    }
}

/// Application state: a clone of the `T` that was given to the worker's builder.
///
/// Give pools and clients, which are cheap to clone, or wrap what is not in an `Arc`. A worker
/// whose subscribers take a state that nobody gave does not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State<T>(pub T);

impl<T> Deref for State<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// What application state must be. Implemented for every such type.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be a subscriber's state",
    label = "state must be `Clone + Send + Sync + 'static`",
    note = "wrap it in an `Arc`, or in an `Arc<Mutex<…>>` if it changes"
)]
pub trait StateValue: Clone + Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Clone + Send + Sync + 'static> StateValue for T {}

impl<T: StateValue> Extract<'_> for State<T> {
    const NEED: Option<Need> = Some(<Self as FromStates>::NEED);

    fn extract(invocation: &mut Invocation<'_>) -> Result<Self, InvokeError> {
        Self::from_states(invocation.states)
    }
}

/// A type that may stand after the scope in a reconciler's arguments: [`State<T>`], and
/// [`ReconcilerContext`](crate::reconciler::ReconcilerContext).
#[diagnostic::on_unimplemented(
    message = "a reconciler's argument of type `{Self}` can't be supplied",
    label = "not one of the types that may follow the scope",
    note = "after the scope may stand: `State<T>`, `ReconcilerContext`"
)]
pub trait FromStates: Sized {
    #[doc(hidden)]
    const NEED: Need;

    #[doc(hidden)]
    fn from_states(states: &States) -> Result<Self, InvokeError>;
}

impl<T: StateValue> FromStates for State<T> {
    const NEED: Need =
        Need { kind: NeedKind::State, id: TypeId::of::<T>(), rust_path: std::any::type_name::<T> };

    fn from_states(states: &States) -> Result<Self, InvokeError> {
        match states.get::<T>() {
            Some(state) => Ok(Self(state.clone())),
            None => Err(InvokeError::Missing(std::any::type_name::<Self>())),
        }
    }
}

/// A transaction that a handler may take as `&mut`, and in which its task completes.
///
/// Implemented by brokers, for their transaction type.
#[diagnostic::on_unimplemented(
    message = "`&mut {Self}` can't be a subscriber's argument",
    label = "not a transaction of a broker",
    note = "after the event may stand, in any order: `State<T>`, `TaskContext`, `&mut EventTransaction<Db>`"
)]
pub trait HandlerTransaction: Any + Send {}

impl<'a, T: HandlerTransaction> Extract<'a> for &'a mut T {
    const NEED: Option<Need> = Some(Need {
        kind: NeedKind::Transaction,
        id: TypeId::of::<T>(),
        rust_path: std::any::type_name::<T>,
    });

    fn extract(invocation: &mut Invocation<'a>) -> Result<Self, InvokeError> {
        invocation
            .transaction
            .take()
            .and_then(|transaction| transaction.downcast_mut())
            .ok_or_else(|| InvokeError::Missing(std::any::type_name::<Self>()))
    }
}

/// The application's state, one value of each type.
#[derive(Clone, Default)]
pub struct States(BTreeMap<TypeId, Arc<dyn Any + Send + Sync>>);

impl States {
    /// No state.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a state; a second one of the same type replaces the first.
    pub fn insert<T: StateValue>(&mut self, state: T) {
        self.0.insert(TypeId::of::<T>(), Arc::new(state));
    }

    /// The state of this type.
    #[must_use]
    pub fn get<T: StateValue>(&self) -> Option<&T> {
        self.0.get(&TypeId::of::<T>()).and_then(|state| state.downcast_ref())
    }

    /// Whether there is a state of the type with this id.
    #[must_use]
    pub fn contains(&self, id: TypeId) -> bool {
        self.0.contains_key(&id)
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "States({})", self.0.len())
    }
}
