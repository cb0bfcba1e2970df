//! Takes each step on the broker and on the model, and compares.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use events_core::Timestamp;
use events_core::broker::{
    Admin, Broker, DeadLetter, Heartbeat, Queues, Settlement, TaskTransaction, WorkerInfo,
};
use events_core::clock::Clock;
use events_core::event::{EventId, WorkerId};
use events_core::lifecycle::Next;
use events_core::session::Session;
use events_testing::ManualClock;
use events_testing::contract::Harness;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use super::expected::{Claim, Model};
use super::operation::{Ending, Fate, Operation, WORKERS, Which, Workers};
use super::program::{self, Kind, LEASE};

/// Runs a sequence on a fresh broker.
pub fn agrees<H: Harness>(operations: &[Operation]) -> TestCaseResult {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    runtime.block_on(async {
        let mut run = Run::<H>::start().await;
        for (number, operation) in operations.iter().enumerate() {
            let result = match run.step(operation).await {
                Ok(()) => run.compare().await,
                failed => failed,
            };
            result.map_err(|error| {
                TestCaseError::fail(format!("step {number}, {operation:?}: {error}"))
            })?;
        }
        Ok(())
    })
}

struct Run<H: Harness> {
    harness: H,
    clock: ManualClock,
    model: Model,
    workers: [WorkerId; WORKERS],
    /// All claims that anybody ever got.
    granted: Vec<Granted<ReceiptOf<H>>>,
    published: u32,
}

/// A claim, for the model and for the broker.
struct Granted<R> {
    claim: Claim,
    receipt: R,
}

type ReceiptOf<H> = <<H as Harness>::Broker as Broker>::Receipt;

impl<H: Harness> Run<H> {
    async fn start() -> Self {
        let clock = ManualClock::new();
        let mut run = Self {
            harness: H::start(program::events(&clock)).await,
            clock,
            model: Model::default(),
            workers: [(); WORKERS].map(|()| WorkerId::generate()),
            granted: Vec::new(),
            published: 0,
        };
        for worker in run.workers {
            run.register(worker).await;
        }
        run
    }

    fn broker(&self) -> &H::Broker {
        self.harness.broker()
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn step(&mut self, operation: &Operation) -> TestCaseResult {
        match operation {
            Operation::Publish { kinds, pause, ending } => {
                self.publish(kinds, *pause, *ending).await;
            }
            Operation::Claim { worker, queues, limit } => {
                self.claim(self.workers[*worker], &queues.queues(), *limit).await?;
            }
            Operation::Settle { worker, batch } => {
                self.settle(self.workers[*worker], batch).await?;
            }
            Operation::Transact { worker, which, kinds, ending } => {
                self.transact(self.workers[*worker], *which, kinds, *ending).await?;
            }
            Operation::Wait(pause) => self.clock.advance(*pause),
            Operation::Beat(workers) => self.beat(*workers).await?,
            Operation::Outlive { survivors, thirds } => {
                for _ in 0..*thirds {
                    self.clock.advance(LEASE / 3);
                    self.beat(*survivors).await?;
                }
            }
            Operation::Replace { worker } => {
                self.workers[*worker] = WorkerId::generate();
                self.register(self.workers[*worker]).await;
            }
            Operation::Deregister { worker } => {
                let worker = self.workers[*worker];
                self.broker().deregister(worker).await.expect("deregisters");
                self.model.liveness.remove(worker);
            }
            Operation::Retry { letter } => {
                let Some(letter) = self.model.letter(*letter) else { return Ok(()) };
                let found = self.broker().retry_dead_letter(letter).await.expect("retries");
                prop_assert_eq!(found, self.model.retry_letter(letter, self.clock.now()));
            }
            Operation::Discard { letter } => {
                let Some(letter) = self.model.letter(*letter) else { return Ok(()) };
                let found = self.broker().discard_dead_letter(letter).await.expect("discards");
                prop_assert_eq!(found, self.model.discard_letter(letter));
            }
        }
        Ok(())
    }

    async fn register(&mut self, worker: WorkerId) {
        self.broker()
            .register(worker, &WorkerInfo::new(Queues::all(), 1))
            .await
            .expect("registers");
        self.model.liveness.register(worker, self.clock.now());
    }

    async fn publish(&mut self, kinds: &[Kind], pause: Duration, ending: Ending) {
        let mut session = self.harness.begin().await;
        let (published, published_at) = (self.put(&mut session, kinds), self.now());
        self.clock.advance(pause);
        match ending {
            Ending::Commit => {
                self.harness.commit(session).await.expect("commits");
                self.model.publish(&published, published_at, self.clock.now());
            }
            Ending::RollBack => self.harness.rollback(session).await,
            Ending::Drop => drop(session),
        }
    }

    fn put(&mut self, session: &mut impl Session, kinds: &[Kind]) -> Vec<(EventId, Kind, u32)> {
        let put = kinds.iter().map(|kind| {
            self.published += 1;
            (kind.publish(session, self.published), *kind, self.published)
        });
        put.collect()
    }

    async fn claim(&mut self, worker: WorkerId, queues: &Queues, limit: usize) -> TestCaseResult {
        let claimed = self.broker().claim(worker, queues, limit).await;
        prop_assert_eq!(claimed.is_ok(), self.model.liveness.knows(worker), "who is registered");
        let Ok(claimed) = claimed else { return Ok(()) };
        let claims = self.model.claim(worker, queues, limit, &claimed, self.clock.now())?;
        let granted = claims
            .into_iter()
            .zip(claimed.tasks)
            .map(|(claim, lease)| Granted { claim, receipt: lease.receipt });
        self.granted.extend(granted);
        Ok(())
    }

    /// A claim is meant by its number, counted round among those in question.
    fn granted(&self, worker: WorkerId, which: Which) -> Option<&Granted<ReceiptOf<H>>> {
        let is_held = |claim| self.model.holds(worker, claim);
        let is_earlier = |claim| {
            let holder = self.model.holder(claim);
            holder.is_some_and(|holder| holder.worker == worker && holder != claim)
        };
        let (number, among): (usize, Vec<_>) = match which {
            Which::Held(number) => {
                (number, self.granted.iter().filter(|had| is_held(had.claim)).collect())
            }
            Which::Earlier(number) => {
                (number, self.granted.iter().filter(|had| is_earlier(had.claim)).collect())
            }
            Which::Any(number) => (number, self.granted.iter().collect()),
        };
        among.get(number.checked_rem(among.len())?).copied()
    }

    async fn settle(&mut self, worker: WorkerId, batch: &[(Which, Fate)]) -> TestCaseResult {
        let mut settlements = Vec::new();
        let mut claims: Vec<Claim> = Vec::new();
        for (which, fate) in batch {
            let Some(granted) = self.granted(worker, *which) else { continue };
            // One claim has one outcome; which of two were to win is not promised.
            if claims.contains(&granted.claim) {
                continue;
            }
            claims.push(granted.claim);
            settlements.push(Settlement {
                receipt: granted.receipt.clone(),
                attempt: granted.claim.attempt,
                next: self.next(*fate),
            });
        }
        let answers = self.broker().settle(worker, &settlements).await.expect("settles");
        let now = self.now();
        let expected: Vec<_> = settlements
            .iter()
            .zip(claims)
            .map(|(settlement, claim)| self.model.settle(worker, claim, &settlement.next, now))
            .collect();
        prop_assert_eq!(answers, expected, "which leases held");
        Ok(())
    }

    fn next(&self, fate: Fate) -> Next {
        let error = || format!("\"wrong\" at {}", self.now());
        match fate {
            Fate::Complete => Next::Complete,
            Fate::Retry(after) => Next::Retry { after, error: error() },
            Fate::Release(after) => Next::Release { after },
            Fate::Bury => Next::Bury { error: error() },
        }
    }

    async fn transact(
        &mut self,
        worker: WorkerId,
        which: Which,
        kinds: &[Kind],
        ending: Ending,
    ) -> TestCaseResult {
        let Some(granted) = self.granted(worker, which) else { return Ok(()) };
        let claim = granted.claim;
        let begun = self.broker().begin_task(worker, &granted.receipt).await.expect("answers");
        prop_assert_eq!(begun.is_some(), self.model.holds(worker, claim), "whether it held");
        let Some(mut transaction) = begun else { return Ok(()) };
        let published = self.put(&mut transaction, kinds);
        match ending {
            Ending::Commit => {
                transaction.commit_task().await.expect("commits");
                let now = self.now();
                self.model.settle(worker, claim, &Next::Complete, now);
                self.model.publish(&published, now, now);
            }
            Ending::RollBack => transaction.rollback_task().await.expect("rolls back"),
            Ending::Drop => drop(transaction),
        }
        Ok(())
    }

    async fn beat(&mut self, workers: Workers) -> TestCaseResult {
        for worker in workers.iter().map(|worker| self.workers[worker]) {
            let heartbeat = self.broker().heartbeat(worker).await.expect("beats");
            prop_assert_eq!(heartbeat, self.model.liveness.beat(worker, self.clock.now()));
            if heartbeat == Heartbeat::Alive {
                let rescued = self.broker().rescue(worker, LEASE).await.expect("rescues");
                let registered: BTreeSet<_> = self.silences().await.into_keys().collect();
                self.model.rescue(worker, &rescued, &registered, self.clock.now())?;
            }
        }
        Ok(())
    }

    /// Who is registered, and silent for how long.
    async fn silences(&self) -> BTreeMap<WorkerId, Duration> {
        let workers = self.broker().health().await.expect("tells").workers;
        workers.into_iter().map(|found| (found.worker, found.silent)).collect()
    }

    async fn compare(&self) -> TestCaseResult {
        let counts = self.broker().counts().await.expect("counts");
        self.model.check_counts(counts, self.now())?;
        self.model.check_letters(&self.letters().await)?;
        prop_assert_eq!(self.silences().await, self.model.liveness.silences(self.now()));
        Ok(())
    }

    /// All dead letters, by pages.
    async fn letters(&self) -> Vec<DeadLetter> {
        const PAGE: usize = 3;
        let mut letters: Vec<DeadLetter> = Vec::new();
        loop {
            let page = self.broker().dead_letters(PAGE, letters.last()).await.expect("lists");
            let is_last = page.len() < PAGE;
            letters.extend(page);
            if is_last {
                return letters;
            }
        }
    }
}
