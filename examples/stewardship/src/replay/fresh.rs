//! What the derived rows should be, computed afresh from the rows that people wrote, and how they
//! differ.
//!
//! This is deliberately not the SQL that propagation uses: a mistake there must show here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

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
    /// A row of `monitor_activity`.
    Activity {
        /// The monitor.
        monitor_config_key: String,
        /// The type of operation.
        operation_type: String,
        /// How often it was completed.
        operations: i64,
    },
}

impl fmt::Display for Derived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inherited { monitor_config_key, user_id, source_system_id } => write!(
                f,
                "monitor {monitor_config_key:?} inherits {user_id:?} from {source_system_id:?}"
            ),
            Self::Activity { monitor_config_key, operation_type, operations } => write!(
                f,
                "monitor {monitor_config_key:?} completed {operation_type:?} {operations} times"
            ),
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
    expected.extend(completed(&mut snapshot).await?);
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

async fn completed(connection: &mut Connection) -> Result<Vec<Derived>, sqlx::Error> {
    activity(
        connection,
        "SELECT monitor_config_key, operation_type, count(*) FROM monitor_operations
         GROUP BY monitor_config_key, operation_type",
    )
    .await
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
    rows.extend(
        activity(
            connection,
            "SELECT monitor_config_key, operation_type, operations FROM monitor_activity",
        )
        .await?,
    );
    Ok(rows)
}

async fn activity(
    connection: &mut Connection,
    sql: &'static str,
) -> Result<Vec<Derived>, sqlx::Error> {
    let rows: Vec<(String, String, i64)> = sqlx::query_as(sql).fetch_all(connection).await?;
    Ok(rows
        .into_iter()
        .map(|(monitor_config_key, operation_type, operations)| Derived::Activity {
            monitor_config_key,
            operation_type,
            operations,
        })
        .collect())
}
