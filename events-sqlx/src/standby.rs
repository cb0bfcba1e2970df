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
use tokio::time::sleep;

use crate::database::{depth, roll_back_and_return};

/// A connection that nobody has taken for so long goes back.
const MOMENT: Duration = Duration::from_millis(5);

/// After so long it goes back in any case: the pool looks after its age. And one that has lain for
/// so long, because the program stood still, is not begun on: the server may have ended it.
const LONGEST: Duration = Duration::from_secs(1);

/// Whoever should bring them back has not done it for so long: its runtime is not driven any more.
const FORGOTTEN: Duration = Duration::from_millis(50);

/// The connections put aside. Clones of a queue share it.
#[derive(Debug)]
pub(crate) struct Standby<Db: Database> {
    pool: Pool<Db>,
    aside: Mutex<Aside<Db>>,
    /// Sessions that wait for a connection of the pool.
    waiting: AtomicUsize,
}

#[derive(Debug)]
struct Aside<Db: Database> {
    /// The last one put aside is the first one taken; so the first ones are the oldest.
    connections: Vec<Put<Db>>,
    /// Whether somebody brings back those that nobody takes.
    clearing: bool,
}

#[derive(Debug)]
struct Put<Db: Database> {
    connection: PoolConnection<Db>,
    out_since: Instant,
    at: Instant,
}

/// Where the connection of a session goes when it has ended: on standby.
#[derive(Debug)]
pub struct Place<Db: Database> {
    standby: Arc<Standby<Db>>,
    /// Since when the connection is out of its pool.
    out_since: Instant,
    /// Whether a commit has left it in an empty transaction.
    in_transaction: bool,
}

impl<Db: Database> Standby<Db> {
    pub(crate) fn of(pool: &Pool<Db>) -> Arc<Self> {
        Arc::new(Self {
            pool: pool.clone(),
            aside: Mutex::new(Aside { connections: Vec::new(), clearing: false }),
            waiting: AtomicUsize::new(0),
        })
    }

    fn aside(&self) -> MutexGuard<'_, Aside<Db>> {
        self.aside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that is on standby, or else one from the pool.
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
        let standby = self.clone();
        Ok((connection, Place { standby, out_since: Instant::now(), in_transaction: false }))
    }

    fn take(self: &Arc<Self>) -> Option<(PoolConnection<Db>, Place<Db>)> {
        let Put { connection, out_since, at } = self.aside().connections.pop()?;
        if at.elapsed() > LONGEST {
            roll_back_and_return(connection);
            return None; // those below are older
        }
        let in_transaction = depth::<Db>(&connection) > 0;
        Some((connection, Place { standby: self.clone(), out_since, in_transaction }))
    }

    /// Whether others get a connection of the pool without this one.
    fn is_spare(&self) -> bool {
        let pool = &self.pool;
        let room = pool.size() < pool.options().get_max_connections() || pool.num_idle() > 0;
        room && !pool.is_closed() && self.waiting.load(Ordering::SeqCst) == 0
    }

    /// Gives back those that nobody has taken for so long. Whether any are left.
    fn clear(&self, older_than: Duration) -> bool {
        let mut aside = self.aside();
        let old = aside.connections.iter().take_while(|put| put.at.elapsed() >= older_than).count();
        let old: Vec<_> = aside.connections.drain(..old).collect();
        let left = !aside.connections.is_empty();
        if !left {
            aside.clearing = false;
        }
        drop(aside);
        for put in old {
            roll_back_and_return(put.connection);
        }
        left
    }
}

impl<Db: Database> Place<Db> {
    /// Whether the connection is in an empty transaction, which the one before has left.
    pub(crate) fn is_in_transaction(&self) -> bool {
        self.in_transaction
    }

    /// Puts the connection of a session that has ended aside, or gives it back.
    pub(crate) fn put(self, connection: PoolConnection<Db>) {
        let Self { standby, out_since, .. } = self;
        let Ok(runtime) = Handle::try_current() else { return roll_back_and_return(connection) };
        let mut aside = standby.aside();
        if out_since.elapsed() > LONGEST || !standby.is_spare() {
            drop(aside);
            return roll_back_and_return(connection);
        }
        let forgotten = aside.connections.first().is_some_and(|put| put.at.elapsed() > FORGOTTEN);
        aside.connections.push(Put { connection, out_since, at: Instant::now() });
        let nobody = !std::mem::replace(&mut aside.clearing, true);
        drop(aside); // a runtime that ends drops the task in here
        if nobody || forgotten {
            runtime.spawn(Clearing(Arc::downgrade(&standby)).run());
        }
    }
}

/// Brings back what nobody takes, and everything when its runtime ends.
struct Clearing<Db: Database>(Weak<Standby<Db>>);

impl<Db: Database> Clearing<Db> {
    async fn run(self) {
        loop {
            sleep(MOMENT).await;
            if !self.0.upgrade().is_some_and(|standby| standby.clear(MOMENT)) {
                return; // none is left, so that the drop takes none
            }
        }
    }
}

impl<Db: Database> Drop for Clearing<Db> {
    fn drop(&mut self) {
        if let Some(standby) = self.0.upgrade() {
            standby.clear(Duration::ZERO);
        }
    }
}

impl<Db: Database> Drop for Standby<Db> {
    fn drop(&mut self) {
        let aside = self.aside.get_mut().unwrap_or_else(PoisonError::into_inner);
        for put in aside.connections.drain(..) {
            roll_back_and_return(put.connection);
        }
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
