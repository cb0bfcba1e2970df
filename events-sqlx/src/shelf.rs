//! Connections that one session has ended and the next may begin on.
//!
//! A pool of sqlx takes a connection back in a task of its own, and asks it first whether it is
//! still there. A program that publishes all the time pays a round trip for that with each session.
//! So a connection is put aside for a moment, in the empty transaction that a commit leaves behind,
//! and the next session begins on it; when none comes, it is rolled back and goes back to its pool.
//!
//! Only for pools that the queue has made itself: whoever made the pool may rely on what it does
//! to connections that come back, such as resetting a role.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{Database, Pool};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::database::{depth, roll_back_and_return};

/// A connection that nobody has taken for so long goes back.
const MOMENT: Duration = Duration::from_millis(5);

/// After so long it goes back in any case: the pool looks after its age.
const LONGEST: Duration = Duration::from_secs(1);

/// The connections put aside. Clones of a queue share it.
#[derive(Debug)]
pub(crate) struct Shelf<Db: Database> {
    pool: Pool<Db>,
    aside: Mutex<Aside<Db>>,
    /// Sessions that wait for a connection of the pool.
    waiting: AtomicUsize,
}

#[derive(Debug)]
struct Aside<Db: Database> {
    /// The last one put aside is the first one taken; so the first ones are the oldest.
    connections: Vec<Put<Db>>,
    /// Brings back those that nobody takes, while there are any.
    clearing: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Put<Db: Database> {
    connection: PoolConnection<Db>,
    out_since: Instant,
    at: Instant,
}

/// A session's claim to the shelf: where its connection goes when it has ended.
#[derive(Debug)]
pub struct Place<Db: Database> {
    shelf: Arc<Shelf<Db>>,
    /// Since when the connection is out of its pool.
    out_since: Instant,
    /// Whether a commit has left it in an empty transaction.
    in_transaction: bool,
}

impl<Db: Database> Shelf<Db> {
    pub(crate) fn of(pool: &Pool<Db>) -> Arc<Self> {
        Arc::new(Self {
            pool: pool.clone(),
            aside: Mutex::new(Aside { connections: Vec::new(), clearing: None }),
            waiting: AtomicUsize::new(0),
        })
    }

    fn aside(&self) -> MutexGuard<'_, Aside<Db>> {
        self.aside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection from the shelf, or else from the pool.
    pub(crate) async fn acquire(
        self: &Arc<Self>,
    ) -> Result<(PoolConnection<Db>, Place<Db>), sqlx::Error> {
        if let Some(found) = self.take() {
            return Ok(found);
        }
        let _waiting = Waiting::new(&self.waiting);
        // Who puts one aside from now on sees that somebody waits; who did before is found here.
        if let Some(found) = self.take() {
            return Ok(found);
        }
        let connection = self.pool.acquire().await?;
        let shelf = self.clone();
        Ok((connection, Place { shelf, out_since: Instant::now(), in_transaction: false }))
    }

    fn take(self: &Arc<Self>) -> Option<(PoolConnection<Db>, Place<Db>)> {
        let Put { connection, out_since, .. } = self.aside().connections.pop()?;
        let in_transaction = depth::<Db>(&connection) > 0;
        Some((connection, Place { shelf: self.clone(), out_since, in_transaction }))
    }

    /// Whether others get a connection of the pool without this one.
    fn is_spare(&self) -> bool {
        let pool = &self.pool;
        let room = pool.size() < pool.options().get_max_connections() || pool.num_idle() > 0;
        room && !pool.is_closed() && self.waiting.load(Ordering::SeqCst) == 0
    }

    /// Takes out those that nobody has taken for a moment. `None` when there are none left.
    fn clear(&self) -> Option<Vec<PoolConnection<Db>>> {
        let mut aside = self.aside();
        if aside.connections.is_empty() {
            aside.clearing = None;
            return None;
        }
        let old = aside.connections.iter().take_while(|put| put.at.elapsed() >= MOMENT).count();
        Some(aside.connections.drain(..old).map(|put| put.connection).collect())
    }
}

impl<Db: Database> Place<Db> {
    /// Whether the connection is in an empty transaction, which the one before has left.
    pub(crate) fn is_in_transaction(&self) -> bool {
        self.in_transaction
    }

    /// Puts the connection of a session that has ended aside, or gives it back.
    pub(crate) fn put(self, connection: PoolConnection<Db>) {
        let Self { shelf, out_since, .. } = self;
        let Ok(runtime) = Handle::try_current() else { return roll_back_and_return(connection) };
        let mut aside = shelf.aside();
        if out_since.elapsed() > LONGEST || !shelf.is_spare() {
            drop(aside);
            return roll_back_and_return(connection);
        }
        aside.connections.push(Put { connection, out_since, at: Instant::now() });
        // It may have ended with the runtime that it was started on.
        if aside.clearing.as_ref().is_none_or(JoinHandle::is_finished) {
            aside.clearing = Some(runtime.spawn(clear(Arc::downgrade(&shelf))));
        }
    }
}

async fn clear<Db: Database>(shelf: Weak<Shelf<Db>>) {
    loop {
        sleep(MOMENT).await;
        let Some(shelf) = shelf.upgrade() else { return };
        let Some(old) = shelf.clear() else { return };
        old.into_iter().for_each(roll_back_and_return);
    }
}

impl<Db: Database> Drop for Shelf<Db> {
    fn drop(&mut self) {
        let aside = self.aside.get_mut().unwrap_or_else(PoisonError::into_inner);
        aside.connections.drain(..).for_each(|put| roll_back_and_return(put.connection));
    }
}

struct Waiting<'s>(&'s AtomicUsize);

impl<'s> Waiting<'s> {
    fn new(waiting: &'s AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::SeqCst);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
