//! An outbox in memory, and a transport that does what the names of the tasks say.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use events_core::broker::BrokerError;
use events_core::event::WorkerId;
use events_core::outbox::{
    Acquired, Backlog, DEFAULT_OUTBOX, Outbox, OutboxBatch, OutboxLease, OutboxRow,
    OutboxSettlement,
};
use events_core::task::Name;
use events_core::transport::{Transport, TransportError, Unsent};
use events_core::{Task, Timestamp};
use tokio::time::{Instant, sleep};

use crate::relay::outcome::tests::task;

/// Clones share it.
#[derive(Clone, Default)]
pub(super) struct Rows(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    /// Whether renewals fail.
    fails: AtomicBool,
}

#[derive(Default)]
struct State {
    rows: BTreeMap<i64, OutboxRow>,
    dead: Vec<Name>,
    token: i64,
    holder: Option<(WorkerId, Instant)>,
}

impl Rows {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    /// A commit at this second, with tasks of these names.
    pub(super) fn commit(&self, number: i64, second: i64, names: &[&'static str]) {
        let tasks = names.iter().map(|name| Task { name: (*name).into(), ..task() }).collect();
        let published_at = Timestamp::from_micros(second * 1_000_000);
        self.state().rows.insert(number, OutboxRow { id: number, published_at, tasks });
    }

    /// The names of what is left of each row.
    pub(super) fn left(&self) -> Vec<Vec<Name>> {
        let names = |row: &OutboxRow| row.tasks.iter().map(|task| task.name.clone()).collect();
        self.state().rows.values().map(names).collect()
    }

    pub(super) fn dead(&self) -> Vec<Name> {
        self.state().dead.clone()
    }

    pub(super) fn holder(&self) -> Option<WorkerId> {
        self.state().holder.filter(|(_, until)| *until > Instant::now()).map(|(holder, _)| holder)
    }

    /// How often somebody got the lease.
    pub(super) fn acquired(&self) -> i64 {
        self.state().token
    }

    pub(super) fn renewals_fail(&self, fail: bool) {
        self.0.fails.store(fail, Ordering::SeqCst);
    }

    /// Another server takes over, which has not seen any of the commits.
    pub(super) fn fail_over(&self) {
        self.state().rows.clear();
    }

    fn holds(state: &mut State, held: &OutboxLease, lease: Duration) -> bool {
        let holds = state.token == held.token && state.holder.is_some();
        if holds {
            state.holder = Some((held.relay, Instant::now() + lease));
        }
        holds
    }
}

impl Outbox for Rows {
    fn outboxes(&self) -> Vec<Name> {
        vec![DEFAULT_OUTBOX.into()]
    }

    async fn acquire_outbox(
        &self,
        outbox: &str,
        relay: WorkerId,
        lease: Duration,
    ) -> Result<Acquired, BrokerError> {
        let (now, mut state) = (Instant::now(), self.state());
        if let Some((_, until)) = state.holder.filter(|(holder, _)| *holder != relay)
            && until > now
        {
            return Ok(Acquired::ByAnother { remaining: until - now });
        }
        state.holder = Some((relay, now + lease));
        state.token += 1;
        let outbox = outbox.to_owned().into();
        Ok(Acquired::Held(OutboxLease { outbox, relay, token: state.token }))
    }

    async fn renew_outbox(&self, held: &OutboxLease, lease: Duration) -> Result<bool, BrokerError> {
        match self.0.fails.load(Ordering::SeqCst) {
            true => Err(BrokerError::new("renew the lease of an outbox", "it is away")),
            false => Ok(Self::holds(&mut self.state(), held, lease)),
        }
    }

    async fn release_outbox(&self, held: &OutboxLease) -> Result<(), BrokerError> {
        let mut state = self.state();
        if state.token == held.token {
            state.holder = None;
        }
        Ok(())
    }

    async fn read_outbox(
        &self,
        _held: &OutboxLease,
        except: &[i64],
        tasks: usize,
    ) -> Result<OutboxBatch, BrokerError> {
        let except: HashSet<_> = except.iter().collect();
        let (mut rows, mut count) = (Vec::new(), 0);
        for row in self.state().rows.values().filter(|row| !except.contains(&row.id)) {
            if count < tasks {
                count += row.tasks.len();
                rows.push(row.clone());
            }
        }
        Ok(OutboxBatch { rows, unreadable: Vec::new() })
    }

    async fn settle_outbox(
        &self,
        held: &OutboxLease,
        settlement: &OutboxSettlement,
        lease: Duration,
    ) -> Result<bool, BrokerError> {
        let mut state = self.state();
        if !Self::holds(&mut state, held, lease) {
            return Ok(false);
        }
        let OutboxSettlement { done, rest, refused } = settlement;
        state.rows.retain(|_, row| !done.contains(&row.key()));
        for rest in rest {
            match state.rows.get_mut(&rest.id) {
                Some(row) if row.key() == rest.key() => row.clone_from(rest),
                _ => {}
            }
        }
        state.dead.extend(refused.iter().map(|(task, _)| task.name.clone()));
        Ok(true)
    }

    async fn move_waiting(
        &self,
        held: &OutboxLease,
        lease: Duration,
    ) -> Result<Option<u64>, BrokerError> {
        Ok(Self::holds(&mut self.state(), held, lease).then_some(0))
    }

    async fn outbox_backlog(&self, _outbox: &str) -> Result<Backlog, BrokerError> {
        Ok(Backlog::default())
    }

    async fn wake_relay(&self) {
        std::future::pending::<()>().await;
    }
}

/// Sends a task, unless its name begins with what else becomes of it: `later`, `panic`, `hang`, and
/// with `slow` in it the call takes two seconds. Clones share what was sent.
#[derive(Clone, Default)]
pub(super) struct Told(Arc<Answers>);

#[derive(Default)]
struct Answers {
    sent: Mutex<Vec<Name>>,
    calls: AtomicUsize,
    refuses: AtomicBool,
    hangs: AtomicBool,
    away: AtomicBool,
}

impl Told {
    /// From now on the broker is away, or is there.
    pub(super) fn is_away(&self, away: bool) {
        self.0.away.store(away, Ordering::SeqCst);
    }

    /// From now on every task is refused, or is not, each for itself.
    pub(super) fn refuse(&self, everything: bool) {
        self.0.refuses.store(everything, Ordering::SeqCst);
    }

    /// From now on no call comes back, or all do.
    pub(super) fn hang(&self, always: bool) {
        self.0.hangs.store(always, Ordering::SeqCst);
    }

    pub(super) fn sent(&self) -> Vec<Name> {
        self.0.sent.lock().unwrap().clone()
    }

    pub(super) fn calls(&self) -> usize {
        self.0.calls.load(Ordering::SeqCst)
    }
}

impl Transport for Told {
    async fn send(&self, tasks: Vec<Task>) -> Result<(), TransportError> {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        if self.0.away.load(Ordering::SeqCst) {
            return TransportError::check(Unsent::all_later(tasks, "it is away"));
        }
        let is = |what: &str| tasks.iter().any(|task| task.name.starts_with(what));
        assert!(!is("panic"), "a transport that was told to");
        if is("hang") || self.0.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if tasks.iter().any(|task| task.name.contains("slow")) {
            sleep(Duration::from_secs(2)).await;
        }
        let refuses = self.0.refuses.load(Ordering::SeqCst);
        let mut unsent = Vec::new();
        for task in tasks {
            if refuses || task.name.starts_with("later") {
                unsent.push(Unsent::later(task, "its list takes nothing"));
            } else {
                self.0.sent.lock().unwrap().push(task.name);
            }
        }
        TransportError::check(unsent)
    }
}
