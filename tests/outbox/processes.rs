//! Real publishers and relays, really killed and stopped.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use events_core::Forwarding;
use events_testing::ManualClock;
use serde_json::Value;

use super::database::{Database, PostgresDatabase, SqliteFile};
use super::{elsewhere, events, until};
use crate::crashes::processes::{Process, start_program};

/// A database, and the file to which relays send.
struct World<D: Database> {
    url: String,
    folder: tempfile::TempDir,
    /// To look at the rows.
    queue: D::Queue,
    _database: D,
}

/// A task as it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Line {
    task: String,
    event: String,
    publisher: u64,
    number: u64,
}

impl World<SqliteFile> {
    async fn sqlite() -> Self {
        let database = SqliteFile::new().await;
        let url = database.path().to_str().unwrap().to_owned();
        Self::of(database, url).await
    }
}

impl World<PostgresDatabase> {
    async fn postgres() -> Self {
        let database = PostgresDatabase::new().await;
        let url = database.url();
        Self::of(database, url).await
    }
}

impl<D: Database> World<D> {
    async fn of(database: D, url: String) -> Self {
        let events = events(&ManualClock::new());
        let queue = database.open(&events, vec![Forwarding::outbox(elsewhere())]).await;
        Self { url, folder: tempfile::tempdir().unwrap(), queue, _database: database }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("sent")
    }

    fn publisher(&self, publisher: u32, until: u64) -> Process {
        let (publisher, until) = (publisher.to_string(), until.to_string());
        Self::start(&["publish", &self.url, &publisher, &until], &[])
    }

    fn relay(&self, environment: &[(&str, &str)]) -> Process {
        Self::start(&["relay", &self.url, self.file().to_str().unwrap()], environment)
    }

    fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Process {
        start_program(env!("CARGO_BIN_EXE_outbox-program"), arguments, environment)
    }

    fn sent(&self) -> Vec<Line> {
        let text = std::fs::read_to_string(self.file()).unwrap_or_default();
        text.lines().filter_map(line).collect()
    }

    async fn is_drained(&self) {
        until("the outbox is empty", async || D::count(&self.queue, D::OUTBOX).await == 0).await;
    }

    /// Every number of every publisher was sent, at first in order, and always as the same task.
    fn assert_all_sent(&self, publishers: u32, numbers: u64) {
        let sent = self.sent();
        let tasks: HashSet<_> = sent.iter().map(|line| (&line.task, &line.event)).collect();
        assert_eq!(tasks.len() as u64, u64::from(publishers) * numbers, "each has one task");
        let mut first: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        let mut seen = HashSet::new();
        for line in &sent {
            if seen.insert(&line.task) {
                first.entry(line.publisher).or_default().push(line.number);
            }
        }
        for publisher in 0..publishers {
            let numbers: Vec<_> = (1..=numbers).collect();
            assert_eq!(first[&u64::from(publisher)], numbers, "of publisher {publisher}");
        }
    }
}

/// A line that is whole: who is killed may have written a part of one.
fn line(text: &str) -> Option<Line> {
    let mut parts = text.splitn(3, ' ');
    let (task, event) = (parts.next()?.to_owned(), parts.next()?.to_owned());
    let payload: Value = serde_json::from_str(parts.next()?).ok()?;
    let number = |field: &str| payload[field].as_u64();
    Some(Line { task, event, publisher: number("publisher")?, number: number("number")? })
}

async fn a_relay_killed_between_send_and_delete_sends_again<D: Database>(world: World<D>) {
    assert!(world.publisher(0, 50).ends().await);
    assert!(world.relay(&[("DIE_AFTER_SENDS", "2")]).dies().await);
    let before = world.sent();
    assert_eq!(before.len(), 40, "two batches");
    let _second = world.relay(&[]);
    world.is_drained().await;
    world.assert_all_sent(1, 50);
    assert_eq!(world.sent().len(), 70, "the second batch twice");
    assert_eq!(world.sent()[40..60], before[20..], "and as it was");
}

async fn nothing_is_lost_when_publishers_and_relays_are_killed_and_stopped<D: Database>(
    world: World<D>,
) {
    const NUMBERS: u64 = 400;
    let mut publishers: Vec<_> =
        (0..2).map(|publisher| world.publisher(publisher, NUMBERS)).collect();
    let mut relays: Vec<_> = (0..2).map(|_| world.relay(&[])).collect();
    let mut seed = 11_u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(30 + random(120))).await;
        let victim = usize::try_from(random(2)).unwrap();
        match random(4) {
            0 => {
                publishers[victim].kill().await;
                publishers[victim] = world.publisher(u32::try_from(victim).unwrap(), NUMBERS);
            }
            1 | 2 => {
                relays[victim].kill().await;
                relays[victim] = world.relay(&[]);
            }
            _ => {
                relays[victim].signal("STOP");
                tokio::time::sleep(Duration::from_millis(random(1_200))).await;
                relays[victim].signal("CONT");
            }
        }
    }
    for publisher in &mut publishers {
        assert!(publisher.ends().await, "the last one gets through");
    }
    world.is_drained().await;
    world.assert_all_sent(2, NUMBERS);
}

async fn a_stopped_relay_is_replaced_within_a_lease_and_deletes_nothing_later<D: Database>(
    world: World<D>,
) {
    let stalled = world.relay(&[]);
    assert!(world.publisher(0, 10).ends().await);
    world.is_drained().await;
    let second = world.relay(&[]);
    stalled.signal("STOP"); // for longer than its lease
    assert!(world.publisher(0, 20).ends().await);
    world.is_drained().await;
    second.signal("STOP");
    assert!(world.publisher(0, 30).ends().await);
    stalled.signal("CONT"); // it has no lease, until that of the second lapses
    world.is_drained().await;
    world.assert_all_sent(1, 30);
    drop(second);
}

macro_rules! on_each_database {
    ($($promise:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                super::$promise(super::World::sqlite().await).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                super::$promise(super::World::postgres().await).await;
            })+
        }
    };
}

on_each_database! {
    a_relay_killed_between_send_and_delete_sends_again,
    nothing_is_lost_when_publishers_and_relays_are_killed_and_stopped,
    a_stopped_relay_is_replaced_within_a_lease_and_deletes_nothing_later,
}
