//! Slices: short measurements of one contender, each in a process and a database of its own.
//!
//! A process of its own means that whatever a contender leaves running, allocates or gets stuck in
//! ends with its slice, and that its memory can be told apart.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use private_postgres::{Server, Settings};
use sqlx::{Connection, PgConnection};
use tokio::process::Command;

use crate::Failed;
use crate::contenders::FLOOR;
use crate::measure::{Ratio, Rounds};

/// What a slice measured, by name.
pub(crate) type Figures = BTreeMap<String, f64>;

const QUICK_LIMIT: Duration = Duration::from_mins(1);

/// The program that starts slices, and the server they are measured on.
pub(crate) struct Harness {
    server: Server,
    /// Smaller and shorter: to see that everything runs, not how fast.
    pub(crate) quick: bool,
}

/// A slice that is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Slice {
    pub(crate) benchmark: &'static str,
    pub(crate) arguments: Vec<String>,
    /// After this it counts as stalled.
    pub(crate) limit: Duration,
}

impl Harness {
    /// Starts a durable server.
    pub(crate) fn start(quick: bool) -> Result<Self, Failed> {
        let settings = Settings { durable: true, ..Settings::default() }
            .set("shared_buffers", "1GB")
            .set("max_wal_size", "8GB") // checkpoints come between the slices, not in them
            .set("checkpoint_timeout", "30min")
            .set("max_connections", "200");
        Ok(Self { server: Server::start(settings)?, quick })
    }

    /// `full`, or less of it where all is only to be tried.
    pub(crate) fn scaled(&self, full: u64, quick: u64) -> u64 {
        if self.quick { quick } else { full }
    }

    /// With less patience where less is measured.
    fn limited(&self, slice: &Slice) -> Slice {
        let limit = if self.quick { slice.limit.min(QUICK_LIMIT) } else { slice.limit };
        Slice { limit, ..slice.clone() }
    }

    /// Measures a slice, then looks at its database with `look`.
    pub(crate) async fn slice(&self, contender: &str, slice: &Slice) -> Result<Figures, Failed> {
        let database = self.server.create_database();
        let mut figures = child(contender, &database.url(), &self.limited(slice)).await?;
        let mut connection = PgConnection::connect(&database.url()).await?;
        figures.extend(dead_versions(&mut connection).await?);
        connection.close().await?;
        Ok(figures)
    }

    /// Measures the contenders in turns, with a slice of the floor before and after each.
    pub(crate) async fn turns(
        &self,
        rounds: usize,
        contenders: &[&'static str],
        slice_of: impl Fn(&str) -> Slice,
    ) -> Result<Turns, Failed> {
        let mut turns = Turns::default();
        let mut before = self.slice(FLOOR, &slice_of(FLOOR)).await?;
        turns.floor.push(before.clone());
        for round in 0..rounds {
            for turn in 0..contenders.len() {
                let contender = contenders[(round + turn) % contenders.len()];
                if turns.gave_up(contender) {
                    continue;
                }
                let measured = self.slice(contender, &slice_of(contender)).await;
                let after = self.slice(FLOOR, &slice_of(FLOOR)).await?;
                turns.floor.push(after.clone());
                match measured {
                    Ok(figures) => {
                        turns.add(contender, Turn { figures, around: [before, after.clone()] });
                    }
                    Err(error) => turns.failures.push((contender, error.to_string())),
                }
                before = after;
            }
        }
        Ok(turns)
    }
}

/// Runs the slice in a process of its own.
async fn child(contender: &str, url: &str, slice: &Slice) -> Result<Figures, Failed> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["slice", slice.benchmark, contender, url])
        .args(&slice.arguments)
        .stdin(Stdio::piped()) // its workers end when this is closed
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let _held_open = child.stdin.take();
    let ended = tokio::time::timeout(slice.limit, child.wait_with_output()).await;
    let Ok(output) = ended else {
        return Err(format!("stalled: not done after {} s", slice.limit.as_secs()).into());
    };
    let output = output?;
    let text = String::from_utf8(output.stdout)?;
    if !output.status.success() {
        return Err(format!("the slice failed: {}", text.trim_end()).into());
    }
    let mut figures = Figures::new();
    for line in text.lines() {
        let (name, value) = line.split_once('\t').ok_or("a figure is a name, a tab, a number")?;
        figures.insert(name.to_owned(), value.parse()?);
    }
    Ok(figures)
}

/// Row versions that updates and deletes left behind, in all tables. Autovacuum does not lower it.
async fn dead_versions(connection: &mut PgConnection) -> Result<Figures, Failed> {
    // A backend adds its counts when it ends.
    let others = "SELECT EXISTS (SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid())";
    while sqlx::query_scalar(others).fetch_one(&mut *connection).await? {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (dead, hot): (i64, i64) = sqlx::query_as(
        "SELECT coalesce(sum(n_tup_upd + n_tup_del), 0)::bigint,
                coalesce(sum(n_tup_hot_upd), 0)::bigint
         FROM pg_stat_user_tables",
    )
    .fetch_one(connection)
    .await?;
    Ok([("dead".to_owned(), dead as f64), ("hot".to_owned(), hot as f64)].into())
}

/// What was measured in turns.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    floor: Vec<Figures>,
    contenders: BTreeMap<&'static str, Vec<Turn>>,
    /// Slices that stalled or failed.
    pub(crate) failures: Vec<(&'static str, String)>,
}

#[derive(Debug)]
struct Turn {
    figures: Figures,
    /// The floor's slices before and after.
    around: [Figures; 2],
}

impl Turns {
    fn add(&mut self, contender: &'static str, turn: Turn) {
        self.contenders.entry(contender).or_default().push(turn);
    }

    /// Whether a contender failed twice: it has had its chance, and others wait.
    fn gave_up(&self, contender: &str) -> bool {
        self.failures.iter().filter(|(failed, _)| *failed == contender).count() >= 2
    }

    pub(crate) fn floor(&self, figure: &str) -> Rounds {
        rounds(self.floor.iter().map(|figures| value(figures, figure)))
    }

    /// What a contender was measured at; nothing if it never finished.
    pub(crate) fn of(&self, contender: &str, figure: &str) -> Option<Rounds> {
        let turns = self.contenders.get(contender)?;
        Some(rounds(turns.iter().map(|turn| value(&turn.figures, figure))))
    }

    /// A contender's figure over the mean of the floor's on both sides.
    pub(crate) fn over_floor(&self, contender: &str, figure: &str) -> Option<Ratio> {
        let turns = self.contenders.get(contender)?;
        let floors = turns.iter().map(|turn| {
            turn.around.iter().map(|figures| value(figures, figure)).sum::<f64>() / 2.0
        });
        Some(self.of(contender, figure)?.over(&rounds(floors)))
    }
}

fn rounds(values: impl Iterator<Item = f64>) -> Rounds {
    let mut rounds = Rounds::default();
    values.for_each(|value| rounds.push(value));
    rounds
}

fn value(figures: &Figures, name: &str) -> f64 {
    figures.get(name).copied().unwrap_or(f64::NAN)
}
