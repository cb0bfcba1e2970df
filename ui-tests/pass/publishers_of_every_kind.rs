//! `#[publishes]` on every kind of function, and who is registered as the publisher.

use std::collections::BTreeSet;

use events_core::prelude::*;

#[derive(Event, Clone)]
struct Changed {
    id: u32,
}

#[derive(Event)]
struct Removed {
    id: u32,
}

type Published = Result<(), PublishError>;

#[publishes(Changed)]
fn free(session: &mut dyn Session) -> Published {
    #![allow(clippy::unit_arg)]
    publish_after_commit(session, Changed { id: 1 }).map(drop)
}

#[publishes(Changed, Removed)]
async fn asynchronous(session: &mut (impl Session + Send)) -> Published {
    std::future::ready(()).await;
    publish_after_commit(session, Changed { id: 1 })?;
    publish_after_commit(session, Removed { id: 1 })?;
    Ok(())
}

#[publishes(crate::Changed)]
pub(crate) unsafe fn in_closures<S: Session>(session: &mut S) -> Published {
    let event = Changed { id: 1 };
    let mut publish = |event| publish_after_commit(session, event);
    publish(event.clone())?;
    (|| publish(event))()?;
    Ok(())
}

struct Systems<T>(T);

impl<T: Clone> Systems<Vec<T>> {
    #[publishes(Changed)]
    fn method<const N: usize>(&self, session: &mut impl Session) -> Published {
        for id in 0..N {
            publish_after_commit(session, Changed { id: id as u32 })?;
        }
        Ok(())
    }

    #[publishes(Changed)]
    fn associated(session: &mut impl Session) -> Result<EventId, PublishError> {
        publish_after_commit(session, Changed { id: 0 })
    }

    #[publishes(Changed)]
    fn future<'s>(&self, session: &'s mut (impl Session + Send)) -> impl Future<Output = Published> + Send + 's {
        async move { publish_after_commit(session, Changed { id: 0 }).map(drop) }
    }
}

trait Repository {
    fn change(&self, session: &mut dyn Session) -> Published;

    #[publishes(Removed)]
    fn remove(&self, session: &mut dyn Session) -> Published {
        publish_after_commit(session, Removed { id: 0 }).map(drop)
    }
}

impl<T> Repository for Systems<T> {
    #[publishes(Changed)]
    fn change(&self, session: &mut dyn Session) -> Published {
        publish_after_commit(session, Changed { id: 0 }).map(drop)
    }
}

#[publishes(Changed)]
fn outer(session: &mut impl Session) -> Published {
    #[publishes(Removed)]
    fn inner(session: &mut impl Session) -> Published {
        publish_after_commit(session, Removed { id: 0 }).map(drop)
    }
    publish_after_commit(session, Changed { id: 0 })?;
    inner(session)
}

fn main() {
    let registry = events_core::Registry::linked().expect("all is well");
    let found: BTreeSet<_> = registry
        .publishers()
        .iter()
        .map(|publisher| publisher.path().trim_start_matches(module_path!()))
        .map(|path| path.replace(&format!("{}::", module_path!()), ""))
        .map(|path| path.trim_start_matches("::").to_owned())
        .collect();
    let expected = [
        "<Systems<_> as Repository>::change",
        "Repository::remove",
        "Systems<alloc::vec::Vec<_>>::associated",
        "Systems<alloc::vec::Vec<_>>::future",
        "Systems<alloc::vec::Vec<_>>::method",
        "asynchronous",
        "free",
        "in_closures",
        "outer",
        "outer::inner",
    ];
    assert_eq!(found, BTreeSet::from(expected.map(str::to_owned)));
    let mentioned = registry.publishers().iter().flat_map(|publisher| publisher.events);
    assert!(mentioned.into_iter().all(|declared| declared.mentioned));
}
