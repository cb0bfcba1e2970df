//! What the derived rows should be, computed afresh from the rows that people wrote, and how they
//! differ.
//!
//! This is deliberately not the SQL that propagation uses: a mistake there must show here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use sqlx::Row as _;

use crate::database::{self, Connection, Pool};

/// A derived row, for people.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Derived {
    /// A row of `monitor_stewards` whose source is `inherited`.
    Inherited {
        /// The monitor.
        monitor_config_key: String,
        /// The steward.
        user_id: String,
        /// The system they are a steward of.
        source_system_id: String,
    },
    /// A row of `monitor_aggregate_statistics`.
    Statistics {
        /// The monitor.
        monitor_config_key: String,
        /// What is counted for it.
        counts: Counts,
    },
}

/// The numbers of a monitor's statistics.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counts {
    /// How many resources have each status; those that none has are left out.
    pub resources: BTreeMap<String, i64>,
    /// How many operations were completed.
    pub operations: i64,
    /// When the last was.
    pub last_completed_at_micros: i64,
}

impl fmt::Display for Derived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inherited { monitor_config_key, user_id, source_system_id } => write!(
                f,
                "monitor {monitor_config_key:?} inherits {user_id:?} from {source_system_id:?}"
            ),
            Self::Statistics { monitor_config_key, counts } => {
                write!(f, "monitor {monitor_config_key:?}: {} operations", counts.operations)?;
                let mut resources = counts.resources.iter();
                resources.try_for_each(|(status, count)| write!(f, ", {count} {status}"))
            }
        }
    }
}

/// How the derived rows differ from a fresh computation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    /// Rows that should be there, and are not.
    pub missing: Vec<Derived>,
    /// Rows that are there, and should not be.
    pub unexpected: Vec<Derived>,
    /// How many derived rows there should be.
    pub expected: usize,
}

impl Differences {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty()
    }
}

/// Computes the derived rows afresh, and compares them with what is there.
///
/// # Errors
/// The database failed.
pub async fn differences(pool: &Pool) -> Result<Differences, sqlx::Error> {
    let mut snapshot = pool.begin_with(database::BEGIN_SNAPSHOT).await?;
    let mut expected = inherited(&Organisation::read(&mut snapshot).await?);
    expected.extend(counted(&mut snapshot).await?);
    let actual = actual(&mut snapshot).await?;
    snapshot.rollback().await?;
    let wanted: BTreeSet<&Derived> = expected.iter().collect();
    let mut unexpected = Vec::new();
    let mut found = BTreeSet::new();
    for row in &actual {
        // A row that is there twice is one too many.
        if !wanted.contains(row) || !found.insert(row) {
            unexpected.push(row.clone());
        }
    }
    let missing = expected.iter().filter(|row| !found.contains(row)).cloned().collect();
    Ok(Differences { missing, unexpected, expected: expected.len() })
}

/// What people wrote about inheritance.
#[derive(Debug, Clone, Default)]
pub struct Organisation {
    /// `system_managers`: systems and their stewards.
    pub stewards: Vec<(String, String)>,
    /// `system_connection_config_links`: connection configs and their systems.
    pub links: Vec<(String, String)>,
    /// `monitor_configs` that inherit: monitors and their connection configs.
    pub inheriting: Vec<(String, Option<String>)>,
}

impl Organisation {
    async fn read(connection: &mut Connection) -> Result<Self, sqlx::Error> {
        Ok(Self {
            stewards: sqlx::query_as("SELECT system_id, user_id FROM system_managers")
                .fetch_all(&mut *connection)
                .await?,
            links: sqlx::query_as(
                "SELECT connection_config_id, system_id FROM system_connection_config_links",
            )
            .fetch_all(&mut *connection)
            .await?,
            inheriting: sqlx::query_as(
                "SELECT key, connection_config_id FROM monitor_configs
                 WHERE inherit_system_stewards",
            )
            .fetch_all(&mut *connection)
            .await?,
        })
    }
}

/// The rule: an inheriting monitor has the stewards of every system that is linked to its
/// connection config.
#[must_use]
pub fn inherited(organisation: &Organisation) -> BTreeSet<Derived> {
    let stewards = grouped(&organisation.stewards);
    let systems = grouped(&organisation.links);
    let mut rows = BTreeSet::new();
    for (monitor, connection) in &organisation.inheriting {
        let Some(connection) = connection else { continue };
        for system in systems.get(connection.as_str()).into_iter().flatten() {
            for user in stewards.get(system).into_iter().flatten() {
                rows.insert(Derived::Inherited {
                    monitor_config_key: monitor.clone(),
                    user_id: (*user).to_owned(),
                    source_system_id: (*system).to_owned(),
                });
            }
        }
    }
    rows
}

fn grouped(pairs: &[(String, String)]) -> BTreeMap<&str, Vec<&str>> {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (key, value) in pairs {
        groups.entry(key).or_default().push(value);
    }
    groups
}

/// Counts, resource by resource and operation by operation.
async fn counted(connection: &mut Connection) -> Result<Vec<Derived>, sqlx::Error> {
    let operations: Vec<(String, i64)> =
        sqlx::query_as("SELECT monitor_config_key, completed_at_micros FROM monitor_operations")
            .fetch_all(&mut *connection)
            .await?;
    let mut counts: BTreeMap<String, Counts> = BTreeMap::new();
    for (monitor, completed_at) in operations {
        let counts = counts.entry(monitor).or_default();
        counts.operations += 1;
        counts.last_completed_at_micros = counts.last_completed_at_micros.max(completed_at);
    }
    let resources: Vec<(String, String)> =
        sqlx::query_as("SELECT monitor_config_key, status FROM staged_resources")
            .fetch_all(connection)
            .await?;
    for (monitor, status) in resources {
        // Whatever was found was found by an operation.
        if let Some(counts) = counts.get_mut(&monitor) {
            *counts.resources.entry(status).or_default() += 1;
        }
    }
    let rows = counts.into_iter();
    Ok(rows
        .map(|(monitor_config_key, counts)| Derived::Statistics { monitor_config_key, counts })
        .collect())
}

async fn actual(connection: &mut Connection) -> Result<Vec<Derived>, sqlx::Error> {
    let inherited: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT monitor_config_key, user_id, source_system_id FROM monitor_stewards
         WHERE source = 'inherited'",
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut rows: Vec<_> = inherited
        .into_iter()
        .map(|(monitor_config_key, user_id, source_system_id)| Derived::Inherited {
            monitor_config_key,
            user_id,
            source_system_id,
        })
        .collect();
    let statistics =
        sqlx::query("SELECT * FROM monitor_aggregate_statistics").fetch_all(connection).await?;
    for row in statistics {
        let mut resources = BTreeMap::new();
        for status in STATUSES {
            let count: i64 = row.try_get(status)?;
            if count != 0 {
                resources.insert(status.to_owned(), count);
            }
        }
        let counts = Counts {
            resources,
            operations: row.try_get("operations")?,
            last_completed_at_micros: row.try_get("last_completed_at_micros")?,
        };
        let monitor_config_key = row.try_get("monitor_config_key")?;
        rows.push(Derived::Statistics { monitor_config_key, counts });
    }
    Ok(rows)
}

const STATUSES: [&str; 6] =
    ["addition", "classified", "reviewed", "confirmed", "promoted", "muted"];

/// How long after a monitor's last operation its statistics were computed, in milliseconds, sorted.
///
/// # Errors
/// The database failed.
pub async fn statistics_delays_ms(pool: &Pool) -> Result<Vec<i64>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT (computed_at_micros - last_completed_at_micros) / 1000
         FROM monitor_aggregate_statistics ORDER BY 1",
    )
    .fetch_all(pool)
    .await
}
