//! Everything that may follow the event, in any order, in async and blocking handlers.

use std::sync::{Arc, Mutex};

use events_core::__private::SubscriberFunction;
use events_core::extract::HandlerTransaction;
use events_core::prelude::*;
use events_core::subscriber::NeedKind;

#[derive(Event, Debug)]
struct Changed {
    id: u32,
}

/// A transaction with a parameter, as the adapters have.
struct Transaction<Db>(Db);
struct Sqlite;

impl<Db: Send + 'static> HandlerTransaction for Transaction<Db> {}

type Alias = State<u64>;

#[subscribes_to(Changed, freshness_only)]
async fn all(
    Changed { id }: Changed,
    context: TaskContext,
    State(counts): State<Arc<Mutex<u32>>>,
    transaction: &mut Transaction<Sqlite>,
    #[allow(unused_variables)] number: Alias,
) -> Result<(), std::io::Error> {
    std::future::ready(()).await;
    let _ = (id, context, counts, &mut transaction.0);
    Ok(())
}

#[subscribes_to(Changed, freshness_only)]
fn blocking(
    mut event: Changed,
    transaction: &mut Transaction<Sqlite>,
    State(mut number): State<u64>,
) -> Result<(), Failure> {
    event.id += 1;
    number += 1;
    let _ = (event, number, &mut transaction.0);
    Ok(())
}

#[subscribes_to(crate::Changed, freshness_only)]
async fn unit(_: self::Changed) -> () {}

#[subscribes_to(Changed, freshness_only)]
pub(crate) async fn r#match(r#type: Changed) -> Result<(), events_core::BoxError> {
    drop(r#type);
    Err("a boxed error is one too".into())
}

fn main() {
    let kinds: Vec<_> = all::SUBSCRIBER.needs.iter().map(|need| need.kind).collect();
    assert_eq!(kinds, [NeedKind::State, NeedKind::Transaction, NeedKind::State]);
    assert!(all::SUBSCRIBER.is_transactional() && blocking::SUBSCRIBER.is_transactional());
    assert!(unit::SUBSCRIBER.needs.is_empty());
    assert!(r#match::SUBSCRIBER.task.ends_with(".match"));
    drop(unit(Changed { id: 1 })); // still a function
}
