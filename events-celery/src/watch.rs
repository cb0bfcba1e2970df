//! Notices messages that arrive while the workers of this process are idle.
//!
//! A list is watched by moving its next message from its end to its end: that blocks while the list is
//! empty, and changes nothing when it is not. A worker in Python that waits for the same list gets its
//! message all the same.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use events_core::WorkerId;
use redis::Value;
use redis::aio::MultiplexedConnection;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use crate::error::CeleryError;
use crate::keys::{Keys, Step};
use crate::source::Source;

/// How long Redis waits for a message before it answers that there is none: so is known that it is there.
const BLOCK: Duration = Duration::from_secs(5);

/// Beyond that the connection is taken for broken.
const ANSWER: Duration = Duration::from_secs(10);

/// Each list that is watched so has a connection. Others are looked at.
const MOST_WATCHED: usize = 8;

/// Between two looks at the others: while messages come, and at the most.
const LOOK: Duration = Duration::from_millis(5);
const LONGEST_LOOK: Duration = Duration::from_millis(100);

/// After a connection that broke.
const RECONNECT: Duration = Duration::from_millis(100);
const LONGEST_RECONNECT: Duration = Duration::from_secs(2);

/// Watches the lists of this process' workers, until dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    source: Source,
    /// Grows with every sign of new messages.
    changes: watch::Sender<u64>,
    watched: Mutex<Watched>,
}

/// Lists that are watched together: mostly one.
type Group = Vec<String>;

#[derive(Debug, Default)]
struct Watched {
    watchers: HashMap<Group, Handle>,
    /// Which a worker wants to be watched.
    wanted: HashMap<WorkerId, Vec<Group>>,
}

#[derive(Debug)]
struct Handle {
    abort: AbortHandle,
    /// Grows with every claim that found less than it could have taken in these lists: only then there is
    /// something to wait for.
    emptied: watch::Sender<u64>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

impl Watch {
    pub(crate) fn new(source: Source) -> Self {
        Self { source, changes: watch::Sender::new(0), watched: Mutex::default() }
    }

    pub(crate) fn changes(&self) -> u64 {
        *self.changes.borrow()
    }

    /// Resolves when the number of changes is not `seen` any more, with the number that it is.
    pub(crate) async fn changed_since(&self, seen: u64) -> u64 {
        let mut changes = self.changes.subscribe();
        match changes.wait_for(|changes| *changes != seen).await {
            Ok(changes) => *changes,
            Err(_) => seen, // the sender is `self`
        }
    }

    /// There may be new messages.
    pub(crate) fn hear(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A claim took all that there was in these lists.
    pub(crate) fn nothing_left(&self, lists: &[(String, Step)], keys: &Keys) {
        let emptied: HashSet<_> = names(lists, keys).into_iter().collect();
        for (group, handle) in &self.watched().watchers {
            if group.iter().any(|list| emptied.contains(list)) {
                handle.emptied.send_modify(|emptied| *emptied += 1);
            }
        }
    }

    /// Watches these lists for a worker from now on, in the order of their importance.
    pub(crate) fn begin(&self, worker: WorkerId, lists: &[(String, Step)], keys: &Keys) {
        let names = names(lists, keys);
        let (watched, looked_at) = names.split_at(names.len().min(MOST_WATCHED));
        let groups = watched.iter().map(|name| vec![name.clone()]);
        let groups = groups.chain((!looked_at.is_empty()).then(|| looked_at.to_vec()));
        let groups: Vec<Group> = groups.collect();
        let mut watched = self.watched();
        for group in &groups {
            watched.watchers.entry(group.clone()).or_insert_with(|| self.spawn(group.clone()));
        }
        watched.wanted.insert(worker, groups);
    }

    /// The worker has ended.
    pub(crate) fn end(&self, worker: WorkerId) {
        let mut watched = self.watched();
        watched.wanted.remove(&worker);
        let Watched { watchers, wanted } = &mut *watched;
        watchers.retain(|group, _| wanted.values().flatten().any(|one| one == group));
    }

    fn spawn(&self, group: Group) -> Handle {
        let emptied = watch::Sender::new(0);
        let watcher = Watcher {
            source: self.source.clone(),
            lists: group,
            changes: self.changes.clone(),
            emptied: emptied.subscribe(),
        };
        Handle { abort: tokio::spawn(watcher.run()).abort_handle(), emptied }
    }
}

fn names(lists: &[(String, Step)], keys: &Keys) -> Vec<String> {
    lists.iter().map(|(queue, step)| keys.list(queue, *step)).collect()
}

/// Watches one list, or looks at several.
struct Watcher {
    source: Source,
    lists: Vec<String>,
    changes: watch::Sender<u64>,
    emptied: watch::Receiver<u64>,
}

impl Watcher {
    async fn run(mut self) {
        let mut pause = RECONNECT;
        loop {
            // Blocking commands are answered when there is something to answer.
            let worked = match self.source.connect(None).await {
                Ok(connection) => self.watch(connection).await,
                Err(error) => {
                    tracing::debug!(
                        error = &CeleryError::from(error) as &dyn std::error::Error,
                        "no connection to watch for messages; workers poll meanwhile"
                    );
                    false
                }
            };
            pause = match worked {
                true => RECONNECT,
                false => (pause * 2).min(LONGEST_RECONNECT),
            };
            sleep(pause.mul_f64(0.5 + 0.5 * fastrand::f64())).await;
            // What came in the meantime was not seen.
            self.hear();
        }
    }

    fn hear(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Until the connection breaks. Whether it ever worked.
    async fn watch(&mut self, mut connection: MultiplexedConnection) -> bool {
        let mut worked = false;
        loop {
            match self.wait(&mut connection).await {
                Ok(()) => {
                    worked = true;
                    self.hear();
                    // Not before the workers have taken what there is.
                    if self.emptied.changed().await.is_err() {
                        return worked;
                    }
                }
                Err(error) => {
                    if let Some(error) = error {
                        tracing::debug!(%error, "the connection that watches for messages broke");
                    }
                    return worked;
                }
            }
        }
    }

    /// Resolves when a list is not empty.
    async fn wait(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> Result<(), Option<redis::RedisError>> {
        let mut pause = LOOK;
        loop {
            let mut command;
            match self.lists.as_slice() {
                [list] => {
                    command = redis::cmd("BLMOVE");
                    command.arg(list).arg(list).arg("RIGHT").arg("RIGHT").arg(BLOCK.as_secs());
                }
                lists => {
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_LOOK);
                    command = redis::cmd("EXISTS");
                    command.arg(lists);
                }
            }
            let answer = timeout(ANSWER, command.query_async::<Value>(connection)).await;
            match answer.map_err(|_| None)?.map_err(Some)? {
                Value::Nil | Value::Int(0) => {}
                _ => return Ok(()),
            }
        }
    }
}
